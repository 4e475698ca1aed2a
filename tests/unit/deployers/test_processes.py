from continuous_training.deployers.processes import environment


def test_a_relative_python_path_still_means_the_same_folder_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert environment({"PYTHONPATH": "include::/lib"})["PYTHONPATH"] == f"{tmp_path}/include:/lib"


def test_only_the_listed_variables_are_passed_on():
    given = {
        "PATH": "/bin",
        "HOME": "/root",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AIRFLOW_CONN_DB": "x",
        "PYTHONSTARTUP": "x",
    }
    assert environment(given).keys() == {"PATH", "HOME", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"}
