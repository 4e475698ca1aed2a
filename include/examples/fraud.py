"""Card payments, one in a hundred of them a fraud that somebody reports weeks later.

    python include/examples/fraud.py <folder> --from 2024-01-01 --to 2024-08-01

A row is one payment. `fraud` is 1 when the holder disputed it, and four weeks later all who would have done so have. People
pay more in December and at weekends, and fraudsters do not keep office hours.

Until 2024-05-06 thieves use stolen cards at night, far from home, for dear things. From then on four in five of them test
stolen numbers with many small payments on the web, which look like nothing that a model of the months before has seen.
"""

from typing import Any

import landing
import numpy as np
import pandas as pd

NEW_PATTERN = pd.Timestamp("2024-05-06", tz="UTC")
A_DAY, SHARE = 500, 0.012
MERCHANTS = np.array(["electronics", "fuel", "gaming", "grocery", "jewellery", "restaurant", "travel"])
USUAL = [0.10, 0.15, 0.08, 0.35, 0.03, 0.20, 0.09]
DEAR = [0.40, 0.05, 0.05, 0.15, 0.15, 0.05, 0.15]
TESTS = [0.05, 0.02, 0.60, 0.15, 0.01, 0.07, 0.10]


def payments(date: pd.Timestamp, random: np.random.Generator, share: float = SHARE) -> pd.DataFrame:
    """Return the payments of `date`, `share` of them frauds."""
    season = (1.2 if date.dayofweek >= 4 else 1.0) * (1.4 if date.month == 12 else 1.0)
    count = random.poisson(A_DAY * season)
    fraud = random.random(count) < share
    tests = fraud & (random.random(count) < 0.8) & (date >= NEW_PATTERN)
    dear = fraud & ~tests

    def either(of_tests: Any, of_dear: Any, usual: Any) -> Any:
        return np.select([tests, dear], [of_tests, of_dear], usual)

    paid_at = landing.moments(date, count, random, busiest=16)
    night = date + pd.to_timedelta(random.uniform(0, 6, count), unit="h")
    merchant = either(*(random.choice(MERCHANTS, count, p=shares) for shares in (TESTS, DEAR, USUAL)))
    columns = {
        "paid_at": paid_at.where(~(dear & (random.random(count) < 0.6)), night.floor("s")),
        "merchant": merchant,
        "channel": np.where(random.random(count) < either(0.97, 0.35, 0.3), "web", "terminal"),
        "amount": np.exp(random.normal(either(1.0, 4.9, 3.4), either(0.6, 0.8, 1.0))).round(2),
        "kilometres_from_home": random.gamma(1.0, either(20.0, 150.0, 20.0)).round(1),
        "payments_last_hour": random.poisson(either(2.5, 0.5, 0.3)).astype("float64"),
        "card_age_days": random.gamma(2.0, 400.0, count).round(),
        "fraud": fraud.astype("int64"),
    }
    table = pd.DataFrame(columns)
    table["hour"] = table["paid_at"].dt.hour.astype("float64")
    return table.sort_values("paid_at", kind="stable", ignore_index=True)


if __name__ == "__main__":
    landing.main(payments, "paid_at", __doc__)
