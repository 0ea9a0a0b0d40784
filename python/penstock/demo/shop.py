"""The `shop` database: believable, the same on every run, and nobody's real data.

Names are put together from lists of common names, addresses lie in example domains, telephone numbers in ranges kept
for fiction, card numbers carry a right check digit under an issuer prefix that test systems use.
"""

import datetime as dt
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import asyncpg

__all__ = ["Shop", "Sizes", "load_shop", "luhn_digit"]

_GIVEN: Final = (
    "Alice Anna Ben Carla Daniel Elena Emil Eva Felix Grace Hanna Ivan Jan Julia Karin Lea Leo Lina Marco Maria Martin "
    "Mila Nina Noah Olga Oscar Paula Peter Rosa Sam Sara Simon Sofia Theo Tina Tom Vera Victor Wendy Yara"
).split()
_FAMILY: Final = (
    "Adams Baker Berger Brown Carter Clark Cole Cook Costa Diaz Evans Fischer Garcia Gray Hall Harris Hill Jensen "
    "Jones "
    "Keller King Klein Lang Lee Lewis Martin Meyer Moore Novak Olsen Park Perez Reed Rossi Silva Smith Stone Young"
).split()
_STREETS: Final = (
    "Bridge Street",
    "Church Lane",
    "Garden Road",
    "High Street",
    "Mill Lane",
    "Park Avenue",
    "Station Road",
)
_CITIES: Final = ("Ashford", "Brookfield", "Eastbury", "Fairview", "Greenville", "Lakeside", "Northport", "Westbrook")
_ADJECTIVES: Final = ("Compact", "Folding", "Heavy", "Light", "Oak", "Quiet", "Steel", "Travel", "Warm", "Woollen")
_THINGS: Final = ("Backpack", "Blanket", "Bottle", "Chair", "Kettle", "Knife", "Lamp", "Mug", "Notebook", "Umbrella")
_DEPARTMENTS: Final = ("accounts", "purchasing", "sales", "support", "warehouse")
_STATES: Final = ("delivered", "delivered", "delivered", "shipped", "paid", "cancelled")
_START: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_YEAR_SECONDS: Final = 365 * 24 * 3600

_SCHEMA: Final = """
CREATE SCHEMA hr;
CREATE TYPE order_state AS ENUM ('paid', 'shipped', 'delivered', 'cancelled');
CREATE TABLE customers (
    id integer PRIMARY KEY, name text NOT NULL, email varchar(120) NOT NULL UNIQUE, phone text, ssn char(11),
    card_number text, city text NOT NULL, address text, notes jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);
CREATE TABLE products (id integer PRIMARY KEY, name text NOT NULL, price numeric(10,2) NOT NULL, tags text[] NOT NULL);
CREATE TABLE orders (
    id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers, state order_state NOT NULL,
    total numeric(12,2) NOT NULL, ordered_at timestamptz NOT NULL
);
CREATE TABLE order_items (
    order_id integer NOT NULL REFERENCES orders, line smallint NOT NULL,
    product_id integer NOT NULL REFERENCES products, quantity smallint NOT NULL, price numeric(10,2) NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE TABLE tickets (
    id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers, subject text NOT NULL,
    body text NOT NULL, context json, opened_at timestamptz NOT NULL
);
CREATE TABLE hr.employees (
    id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL, ssn text NOT NULL, department text NOT NULL,
    salary numeric(10,2) NOT NULL, hired date NOT NULL, manager_id integer REFERENCES hr.employees
);
CREATE TABLE payments (
    id integer NOT NULL, order_id integer NOT NULL, card_number text NOT NULL, amount numeric(12,2) NOT NULL,
    paid_at timestamptz NOT NULL
) PARTITION BY RANGE (paid_at);
CREATE TABLE payments_h1 PARTITION OF payments FOR VALUES FROM ('2026-01-01Z') TO ('2026-07-01Z');
CREATE TABLE payments_h2 PARTITION OF payments FOR VALUES FROM ('2026-07-01Z') TO ('2027-02-01Z');
CREATE VIEW customer_contacts AS SELECT id, name AS who, email AS mail, phone AS telephone FROM customers;
CREATE VIEW contacts_by_city AS
    SELECT c.city, k.who, k.mail FROM customer_contacts k JOIN customers c USING (id);
CREATE VIEW monthly_revenue AS
    SELECT date_trunc('month', ordered_at) AS month, count(*) AS orders, sum(total) AS revenue
    FROM orders WHERE state <> 'cancelled' GROUP BY 1 ORDER BY 1;
CREATE FUNCTION label(product products) RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT product.id || ' ' || product.name $$;
CREATE FUNCTION order_count(customer integer) RETURNS bigint LANGUAGE sql STABLE
    AS 'SELECT count(*) FROM orders WHERE customer_id = customer';
"""

_AFTER_LOAD: Final = """
CREATE MATERIALIZED VIEW card_holders AS SELECT id AS customer, name, card_number AS card FROM customers;
CREATE INDEX ON orders (customer_id);
CREATE INDEX ON orders (ordered_at);
ANALYZE customers, products, orders, order_items, tickets, payments, hr.employees, card_holders;
"""


@dataclass(frozen=True)
class Sizes:
    """How many rows; every other table follows from these."""

    customers: int = 2000
    orders: int = 12000
    products: int = 100
    employees: int = 60
    tickets: int = 400


@dataclass(frozen=True)
class Shop:
    """What was loaded, so that nobody has to guess values to look for in an answer."""

    database: str
    reader: str
    reader_password: str
    writer: str
    writer_password: str
    ssns: Sequence[str]
    cards: Sequence[str]
    emails: Sequence[str]
    phones: Sequence[str]


def luhn_digit(digits: str) -> str:
    """The check digit that makes `digits` a right card number."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        value = int(character) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


class _Maker:
    """Makes rows from one seeded source of chance."""

    def __init__(self, sizes: Sizes, seed: int) -> None:
        self.sizes = sizes
        self.chance = random.Random(seed)
        self.customers = [self._customer(number) for number in range(1, sizes.customers + 1)]

    def ssn(self) -> str:
        area = self.chance.choice([*range(1, 666), *range(667, 900)])
        return f"{area:03d}-{self.chance.randint(1, 99):02d}-{self.chance.randint(1, 9999):04d}"

    def card(self) -> str:
        body = f"4000{self.chance.randrange(10**11):011d}"
        return body + luhn_digit(body)

    def name(self) -> str:
        return f"{self.chance.choice(_GIVEN)} {self.chance.choice(_FAMILY)}"

    def moment(self) -> dt.datetime:
        return _START + dt.timedelta(seconds=self.chance.randrange(_YEAR_SECONDS))

    def price(self, low: int, high: int) -> Decimal:
        return Decimal(self.chance.randint(low, high)) + Decimal(self.chance.choice((0, 50, 95, 99))) / 100

    def _customer(self, number: int) -> tuple[object, ...]:
        name = self.name()
        mail = f"{name.lower().replace(' ', '.')}{number}@example.{self.chance.choice(('com', 'org', 'net'))}"
        phone = f"+1 202-555-{self.chance.randint(100, 199):04d}"
        # A few have no number on file, so that NULL is seen to stay NULL.
        ssn = None if number % 40 == 0 else self.ssn()
        notes = {"newsletter": self.chance.random() < 0.4, "language": self.chance.choice(("en", "de", "es"))}
        if number % 25 == 0:
            notes["callback"] = f"ask for {name}, {mail}"
        address = f"{self.chance.randint(1, 180)} {self.chance.choice(_STREETS)}"
        return (
            number,
            name,
            mail,
            phone,
            ssn,
            self.card(),
            self.chance.choice(_CITIES),
            address,
            json.dumps(notes),
            self.moment(),
        )

    def products(self) -> Iterator[tuple[object, ...]]:
        for number in range(1, self.sizes.products + 1):
            name = f"{self.chance.choice(_ADJECTIVES)} {self.chance.choice(_THINGS)}"
            yield number, name, self.price(5, 180), self.chance.sample(["new", "sale", "gift", "home"], 2)

    def orders(self) -> Iterator[tuple[object, ...]]:
        for number in range(1, self.sizes.orders + 1):
            customer = self.chance.randint(1, self.sizes.customers)
            yield number, customer, self.chance.choice(_STATES), self.price(10, 900), self.moment()

    def items(self) -> Iterator[tuple[object, ...]]:
        for order in range(1, self.sizes.orders + 1):
            for line in range(1, self.chance.choice((1, 1, 2, 3)) + 1):
                product = self.chance.randint(1, self.sizes.products)
                yield order, line, product, self.chance.randint(1, 4), self.price(5, 180)

    def payments(self) -> Iterator[tuple[object, ...]]:
        for number in range(1, self.sizes.orders // 4 + 1):
            customer = self.customers[self.chance.randrange(len(self.customers))]
            yield number, number, customer[5], self.price(10, 900), self.moment()

    def tickets(self) -> Iterator[tuple[object, ...]]:
        for number in range(1, self.sizes.tickets + 1):
            customer = self.customers[self.chance.randrange(len(self.customers))]
            asked = self.chance.choice(("Where is my order?", "Please change my address.", "The kettle is too loud."))
            # What people write into free text is what detectors are for.
            told = self.chance.choice(
                ("", f" You can write to {customer[2]}.", f" My card is {customer[5]}.", f" Call {customer[3]}.")
            )
            context = json.dumps({"channel": "web", "contact": {"mail": customer[2]}})
            yield number, customer[0], asked.split(" ", maxsplit=1)[0], asked + told, context, self.moment()

    def employees(self) -> Iterator[tuple[object, ...]]:
        for number in range(1, self.sizes.employees + 1):
            name = self.name()
            mail = f"{name.lower().replace(' ', '.')}{number}@shop.example"
            manager = None if number <= 5 else self.chance.randint(1, 5)
            hired = dt.date(2015, 1, 1) + dt.timedelta(days=self.chance.randrange(4000))
            yield (
                number,
                name,
                mail,
                self.ssn(),
                self.chance.choice(_DEPARTMENTS),
                self.price(2500, 9000),
                hired,
                manager,
            )


async def load_shop(
    dsn: str,
    *,
    database: str = "shop",
    sizes: Sizes | None = None,
    seed: int = 4711,
    secrets: Sequence[str] = ("ro", "rw"),
) -> Shop:
    """Creates the database and its two roles, and fills it.

    Args:
        dsn: a superuser's address of the server's `postgres` database.
        database: the name of the database to make.
        sizes: how many rows.
        seed: another seed makes other rows; the same seed makes the same.
        secrets: passwords of the reading and of the writing role.

    Returns:
        What was loaded, protected values included, for tests that look for them in answers.
    """
    reader, writer, owner = f"{database}_ro", f"{database}_rw", f"{database}_owner"
    server = await asyncpg.connect(dsn)
    try:
        await server.execute(f"CREATE ROLE {owner} NOLOGIN")
        await server.execute(f"CREATE ROLE {reader} LOGIN PASSWORD '{secrets[0]}'")
        await server.execute(f"CREATE ROLE {writer} LOGIN PASSWORD '{secrets[1]}' IN ROLE {owner}")
        await server.execute(f"CREATE DATABASE {database} OWNER {owner} TEMPLATE template0")
    finally:
        await server.close()
    maker = _Maker(sizes or Sizes(), seed)
    connection = await asyncpg.connect(f"{dsn.rsplit('/', 1)[0]}/{database}")
    try:
        await connection.execute(f"GRANT CREATE ON SCHEMA public TO {owner}; SET ROLE {owner}")
        await connection.execute(_SCHEMA)
        await _fill(connection, maker)
        await connection.execute(_AFTER_LOAD)
        for schema in ("public", "hr"):
            await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {reader}")
            await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}")
    finally:
        await connection.close()
    rows = maker.customers
    return Shop(
        database=database,
        reader=reader,
        reader_password=secrets[0],
        writer=writer,
        writer_password=secrets[1],
        ssns=[str(row[4]) for row in rows if row[4] is not None],
        cards=[str(row[5]) for row in rows],
        emails=[str(row[2]) for row in rows],
        phones=[str(row[3]) for row in rows],
    )


async def _fill(connection: "asyncpg.Connection[asyncpg.Record]", maker: _Maker) -> None:
    """Loads every table, referenced ones first."""
    for table, rows in (
        ("customers", maker.customers),
        ("products", maker.products()),
        ("orders", maker.orders()),
        ("order_items", maker.items()),
        ("payments", maker.payments()),
        ("tickets", maker.tickets()),
    ):
        await connection.copy_records_to_table(table, records=rows)
    await connection.copy_records_to_table("employees", schema_name="hr", records=maker.employees())
