"""What fields of several tables share."""

from django.core.validators import MaxValueValidator, MinValueValidator

UNIT_INTERVAL = [MinValueValidator(0.0), MaxValueValidator(1.0)]
