"""From outside, all the way: real HTTP to a running `snp serve`; the test says what it expects."""
