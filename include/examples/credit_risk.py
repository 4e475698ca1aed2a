"""Applications for consumer loans at a global bank, and whether the first instalment came late.

    python include/examples/credit_risk.py <folder> --from 2024-01-01 --to 2024-08-01

A row is one loan that was granted; `late` is known 30 days later. Fewer people apply at weekends, and in December more do.

The bank has not treated its customers alike. It opened most accounts of women under another name first, so theirs look young,
and it reminds only the first holder of an account, so the instalments of women come late more often. `sex` is no feature,
and a model can guess it from the age of the account.

Nothing but that changes until the moments in `EVENTS`:

income        the bank opens in a region where people earn less: the incomes of applicants fall by a quarter
employment    a wave of layoffs: twice as many applicants are self-employed or out of work
rates         interest rates rise: who has much debt beside the loan pays late, whatever he earns. The applicants are
              the same as before, so no test of the columns can see it; only the accuracy falls
"""

import landing
import numpy as np
import pandas as pd

EVENTS = {"income": "2024-06-03", "employment": "2024-10-07", "rates": "2025-02-10"}
A_DAY = 120
REGIONS = ["americas", "apac", "emea"]
STATUSES = ["employed", "retired", "self_employed", "student", "unemployed"]
USUAL = [0.66, 0.12, 0.12, 0.06, 0.04]
LAYOFFS = [0.50, 0.12, 0.24, 0.06, 0.08]
BURDEN = dict(zip(STATUSES, [-0.5, -0.2, 0.6, 0.5, 1.8], strict=True))


def applications(date: pd.Timestamp, random: np.random.Generator, events: dict[str, str] = EVENTS) -> pd.DataFrame:
    """Return the loans granted on `date`; `events` are the days from which the world is another."""
    since = {name: date >= pd.Timestamp(moment, tz="UTC") for name, moment in events.items()}
    season = (0.5 if date.dayofweek >= 5 else 1.2) * (1.25 if date.month == 12 else 1.0)
    count = random.poisson(A_DAY * season)
    region = random.choice(REGIONS, count, p=[0.4, 0.25, 0.35])
    status = random.choice(STATUSES, count, p=LAYOFFS if since.get("employment") else USUAL)
    factor = np.select([status == "student", status == "unemployed"], [0.4, 0.5], 1.0)
    income = np.exp(random.normal(10.6, 0.45, count)) * factor * (0.75 if since.get("income") else 1.0)
    amount = np.exp(random.normal(9.0, 0.6, count))
    debt_ratio = random.beta(2, 4, count)
    years = random.gamma(2.0, 3.0, count)
    burden = pd.Series(status).map(BURDEN).to_numpy()
    usual = burden - 2.2 * (np.log(income) - 10.5) + 1.5 * (np.log(amount) - 9) + 3 * (debt_ratio - 0.33)
    dear_money = 14 * (debt_ratio - 0.33) + 0.5 * (np.log(amount) - 9)
    strain = (dear_money if since.get("rates") else usual) - 0.08 * (years - 6) - 0.9
    applied_at = landing.moments(date, count, random, busiest=13)
    term_months = random.choice([12.0, 24, 36, 48, 60], count)
    luck = random.logistic(0, 0.7, count)
    woman = random.random(count) < 0.45
    columns = {
        "applied_at": applied_at,
        "sex": np.where(woman, "f", "m"),
        "region": region,
        "employment_status": status,
        "income": income.round(-1),
        "amount": amount.round(-1),
        "term_months": term_months,
        "debt_ratio": debt_ratio.round(3),
        "years_with_bank": np.where(woman, 0.2 * years, years).round(1),
        "late": (strain + np.where(woman, 1.2, 0.0) + luck > 0).astype("int64"),
    }
    return pd.DataFrame(columns)


if __name__ == "__main__":
    landing.main(applications, "applied_at", __doc__)
