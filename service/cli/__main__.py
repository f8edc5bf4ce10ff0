"""`python -m service.cli` is `snp`."""

from service.cli import main

if __name__ == "__main__":
    main()
