"""What is promised to other people's software: the OpenAPI document and the guide."""
