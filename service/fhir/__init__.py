"""FHIR R4: the face for the national platform of the Service d'Accès aux Soins (SAS).

It speaks the guide "Service d'Accès aux Soins" of the ANS, in versions 1.1.0 and 1.2.0 at once, and
has neither rules nor tables of its own: it asks the rooms' doors. `http` is how it talks, `query`
reads a search, `resources` writes what is found, `codes` holds the national names.
"""
