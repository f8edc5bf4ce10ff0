"""Demo: synthetic data sets that reproduce the published figures from individual rows.

`dataset()` makes the Indre of 2022, pure and always the same; `load` writes it into an empty
database, which is marked synthetic for ever; `vacuum` readies the tables for figures.
"""

from service.demo.indre import Dataset, dataset
from service.demo.repository import DatabaseNotEmpty, load, vacuum

__all__ = ["DatabaseNotEmpty", "Dataset", "dataset", "load", "vacuum"]
