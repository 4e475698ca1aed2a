"""LightGBM's way in for single rows: what does not depend on the row is prepared once, which takes a tenth of the time.

LightGBM's Python package offers it through its C library only: `LGBM_BoosterPredictForMatSingleRowFast`.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from lightgbm import basic

if TYPE_CHECKING:
    from lightgbm import Booster
    from numpy.typing import NDArray

_NORMAL, _FLOAT64, _ALL_TREES = 0, 1, -1  # C_API_PREDICT_NORMAL, C_API_DTYPE_FLOAT64


class SingleRows:
    """Predicts rows one by one, with the numbers that `booster.predict` gives.

    Parameters
    ----------
    booster
        A model that does not change any more.
    """

    def __init__(self, booster: Booster) -> None:
        self._booster = booster  # the library keeps a pointer to it
        self._features = booster.num_feature()
        self._values = booster.num_model_per_iteration()
        self._predict = basic._LIB.LGBM_BoosterPredictForMatSingleRowFast
        self._lock = threading.Lock()  # the library writes to memory that all calls share
        self._row = (ctypes.c_double * self._features)()
        self._write = struct.Struct(f"{self._features}d").pack_into
        self._predicted = (ctypes.c_double * self._values)()
        self._written_at = ctypes.byref(ctypes.c_int64())
        self._config = ctypes.c_void_p()
        basic._safe_call(
            basic._LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle,
                ctypes.c_int(_NORMAL),
                ctypes.c_int(0),
                ctypes.c_int(_ALL_TREES),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(self._features),
                b"num_threads=1",
                ctypes.byref(self._config),
            )
        )
        weakref.finalize(self, basic._LIB.LGBM_FastConfigFree, self._config)

    def predict(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return values (rows,), or with several classes probabilities (rows, classes), of a float64 matrix."""
        predicted = [self.predict_row(row) for row in x.tolist()]
        return np.array(predicted if self._values > 1 else [value for [value] in predicted])

    def predict_row(self, row: list[float]) -> list[float]:
        """Return one value, or with several classes the probability of each."""
        if len(row) != self._features:
            msg = f"the model has {self._features} features, the row has {len(row)}"
            raise ValueError(msg)
        with self._lock:
            self._write(self._row, 0, *row)
            failed = self._predict(self._config, self._row, self._written_at, self._predicted)
            if failed:
                basic._safe_call(failed)
            predicted: list[float] = self._predicted[:]
            return predicted
