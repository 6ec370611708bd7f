"""Twenty-four hours and seconds, as in the logs that support compares them with. All are UTC."""

DATE_FORMAT = "M j, Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "M j, Y, H:i:s"
