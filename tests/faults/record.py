"""The fault list as data: `@row(7, "complex x")` registers the test of row 7. What each row must show is in its function."""

ROWS = {}


def row(number, title):
    """Register a function of no arguments as the test of this row."""

    def wrap(function):
        assert number not in ROWS, number
        function.title = title
        ROWS[number] = function
        return function

    return wrap
