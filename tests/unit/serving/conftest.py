from served_model import home, trained  # noqa: F401 - fixtures
