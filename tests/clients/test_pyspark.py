"""Spark: a column of labels beside a column of images."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import convzoo

pyspark = pytest.importorskip("pyspark")
if shutil.which("java") is None:
    pytest.skip("Spark needs a Java runtime", allow_module_level=True)

DISTRIBUTION = "pyspark"


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", False)
    session = session.getOrCreate()
    yield session
    session.stop()


def test_pandas_udf(spark: Any, tmp_path: Path) -> None:
    """The Predictor in a pandas UDF, on files as Spark reads them"""
    from PIL import Image

    for i in range(6):
        Image.new("L", (28, 28), 40 * i).save(tmp_path / f"{i}.png")

    import pandas as pd
    from pyspark.sql.functions import pandas_udf

    @pandas_udf("string")
    def label(contents: Iterator[pd.Series]) -> Iterator[pd.Series]:
        import convzoo

        predict = convzoo.Predictor("lenet5.fashion_mnist", top_k=1)  # once a task
        for some in contents:
            yield pd.Series([best.label for (best,) in predict.batch(some)])

    files = spark.read.format("binaryFile").load(str(tmp_path))
    rows = files.select("path", label("content").alias("label")).collect()

    predict = convzoo.Predictor("lenet5.fashion_mnist", top_k=1)
    found = {Path(row["path"]).name: row["label"] for row in rows}
    assert found == {path.name: predict(path)[0].label for path in tmp_path.glob("*.png")}
