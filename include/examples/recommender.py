"""What visitors of a shop were shown, clicked and bought: implicit feedback for a product recommender.

    python include/examples/recommender.py <folder> --from 2024-01-01 --to 2024-02-01

A row is one product shown in one session; `relevance` is 0 when it was only seen, 1 when it was clicked and 2 when it was
bought, which is known a day later. The other columns are known when the page is built: what the shop counted in the week
before (`views_last_week`), and what this visitor browsed in it (`browsed_category`, `browsed_product`).

More people come at the weekend. Which categories are in fashion moves slowly through the year. From 2024-01-15 on there is
a sale: discounts decide what is bought, and what was popular before counts for little.
"""

import landing
import numpy as np
import pandas as pd

SALE = pd.Timestamp("2024-01-15", tz="UTC")
CATEGORIES = np.array(["books", "garden", "kitchen", "music", "shoes", "sports", "toys", "travel"])
PRODUCTS, SHOWN, SESSIONS = 400, 30, 110

_catalogue = np.random.default_rng(2024)
CATEGORY = _catalogue.integers(0, len(CATEGORIES), PRODUCTS)
PRICE = np.exp(_catalogue.normal(3.2, 0.7, PRODUCTS)).round(2)
APPEAL = _catalogue.normal(size=PRODUCTS)


def impressions(date: pd.Timestamp, random: np.random.Generator) -> pd.DataFrame:
    """Return what was shown in the sessions that began on `date`, in the order of time."""
    sessions = int(SESSIONS * (1.3 if date.dayofweek >= 5 else 1.0))
    shape = (sessions, SHOWN)
    product = random.permuted(np.tile(np.arange(PRODUCTS), (sessions, 1)), axis=1)[:, :SHOWN]
    category = CATEGORY[product]
    taste = random.dirichlet(np.full(len(CATEGORIES), 0.4), sessions)
    browsed_category = random.poisson(12 * np.take_along_axis(taste, category, axis=1))
    browsed_product = random.poisson(0.15 + 0.4 * (browsed_category > 3), shape)
    fashion = 0.8 * np.sin(2 * np.pi * (date.dayofyear / 365 + category / len(CATEGORIES)))
    views = random.poisson(np.exp(3 + 0.8 * APPEAL[product] + 0.3 * fashion))
    discount = np.where(random.random(shape) < 0.3, random.choice([10, 20, 30, 50], shape), 0)
    on_sale = date >= SALE
    interest = (
        0.7 * np.log1p(browsed_category)
        + 0.9 * browsed_product
        + fashion
        + (0.1 if on_sale else 0.7) * APPEAL[product]
        + (0.06 if on_sale else 0.015) * discount
        - 0.4 * np.log(PRICE[product] / 25)
        + random.logistic(0, 0.8, shape)
    )
    clicked = interest > (4.6 if on_sale else 3.6)
    bought = clicked & (interest == interest.max(axis=1, keepdims=True)) & (random.random((sessions, 1)) < 0.4)
    began = landing.moments(date, sessions, random, busiest=19)
    columns = {
        "shown_at": began.repeat(SHOWN) + pd.to_timedelta(np.tile(15 * np.arange(SHOWN), sessions), unit="s"),
        "session": np.repeat([f"{date:%Y%m%d}-{number:04}" for number in range(sessions)], SHOWN),
        "category": CATEGORIES[category].ravel(),
        "price": PRICE[product].ravel(),
        "discount": discount.ravel().astype("float64"),
        "views_last_week": views.ravel().astype("float64"),
        "browsed_category": browsed_category.ravel().astype("float64"),
        "browsed_product": browsed_product.ravel().astype("float64"),
        "relevance": (clicked.astype("int64") + bought).ravel(),
    }
    return pd.DataFrame(columns).sort_values("shown_at", kind="stable", ignore_index=True)


if __name__ == "__main__":
    landing.main(impressions, "shown_at", __doc__)
