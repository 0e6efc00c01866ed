"""Random schemas, data and workloads for `./dev bench tuner_honesty`: the same seed makes the same."""
import random

WORDS = ["open", "done", "failed", "queued", "running", "paused", "lost", "new"]
# One schema in eight has names that must be quoted with care.
PLAIN = ["orders", "items", "events", "users", "runs", "metrics", "sessions", "parts"]
HOSTILE = ['or"ders', "Sélect", "user", "a\nb", "x'; DROP TABLE y; --", "table", "größe " + "ß" * 25, "%s $1", "\\", "t.u"]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class Column:
    def __init__(self, name, type_, value, kind):
        self.name, self.type, self.value, self.kind = quoted(name), type_, value, kind


class Table:
    def __init__(self, name, rows):
        self.name, self.rows, self.columns, self.parents, self.sample = name, rows, [], {}, []

    def of_kind(self, *kinds):
        return [column for column in self.columns if column.kind in kinds]


class Schema:
    """Tables, loaded into a database; afterwards workload() reads its constants from there."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        hostile = self.rng.random() < 1 / 8
        self.name = quoted(self.rng.choice(HOSTILE) + "_s") if hostile else "public"
        names = self.rng.sample(HOSTILE if hostile else PLAIN, self.rng.randrange(1, 6))
        self.tables = []
        for name in names:
            table = Table(f"{self.name}.{quoted(name)}", int(10 ** self.rng.uniform(3, 5.3)))
            for parent in self.rng.sample(self.tables, min(len(self.tables), self.rng.randrange(3))):
                table.parents[f"k{len(table.parents)}"] = parent
            columns = self.rng.sample(HOSTILE, self.rng.randrange(2, 8)) if hostile else [f"c{n}" for n in range(self.rng.randrange(2, 8))]
            for column in columns:
                table.columns.append(self.column(column, table))
            self.tables.append(table)

    def column(self, name, table):
        rng = self.rng
        some, many = rng.randrange(2, 60), rng.randrange(100, table.rows)
        type_, value, kind = rng.choice([
            ("int", f"(random() * {some})::int", "number"),
            ("int", f"(random() * {many})::int", "number"),
            ("int", f"(power(random(), 6) * {many})::int", "number"),
            ("bigint", "i * 10 + 5000000000", "number"),
            ("int", f"i / {some}", "number"),
            ("numeric", "round((random() * 1000)::numeric, 2)", "number"),
            ("numeric", f"(i % {some})::numeric / 4", "number"),
            ("text", f"(ARRAY{WORDS})[1 + (power(random(), 4) * 7)::int]", "text"),
            ("text", "md5(i::text)", "text"),
            ("text", f"'Name-' || (random() * {many})::int", "text"),
            ("timestamp", "timestamp '2026-01-01' + i * interval '1 minute'", "time"),
            ("timestamptz", "timestamptz '2026-01-01' + random() * interval '200 days'", "time"),
            ("boolean", f"random() < {rng.choice([0.5, 0.1, 0.01])}", "boolean"),
            ("jsonb", f"jsonb_build_object('k', (random() * {some})::int, 'tag', 't' || (power(random(), 3) * {many})::int, 'list', jsonb_build_array(i % 7))",
             "json"),
        ])
        if kind == "number" and table.of_kind("number") and rng.random() < 0.3:  # correlated with another
            other = rng.choice(table.of_kind("number"))
            type_, value = "numeric", f"({other.value})::numeric + (random() * 3)::int"
        if rng.random() < 0.25:
            value = f"CASE WHEN random() > {rng.choice([0.5, 0.9, 0.97])} THEN {value} END"
        return Column(name, type_, value, kind)

    def statements(self):
        if self.name != "public":
            yield f"CREATE SCHEMA {self.name}"
        yield f"SELECT setseed({self.rng.random()})"
        yield "SET session_replication_role = replica"  # the keys' rows are there: need not be looked up
        for table in self.tables:
            keys = "".join(f", {key} int REFERENCES {parent.name}" for key, parent in table.parents.items())
            columns = "".join(f", {column.name} {column.type}" for column in table.columns)
            yield f"CREATE TABLE {table.name} (id int PRIMARY KEY{keys}{columns})"
            power = self.rng.choice([1, 1, 3])
            values = "".join(f", 1 + (power(random(), {power}) * {parent.rows - 1})::int" for parent in table.parents.values())
            values += "".join(f", {column.value}" for column in table.columns)
            yield f"INSERT INTO {table.name} SELECT i{values} FROM generate_series(1, {table.rows}) i"
            if self.rng.random() < 0.3:
                column = self.rng.choice(table.columns)
                for number in range(self.rng.choice([1, 1, 2])):  # some twice
                    yield f"CREATE INDEX {quoted(f'old {number} ' + str(self.tables.index(table)))} ON {table.name} ({column.name})"
        yield "VACUUM (ANALYZE)"

    def read_sample(self, cursor):
        self.cursor = cursor
        for table in self.tables:
            ids = [self.rng.randrange(1, table.rows + 1) for _ in range(40)]
            names = [column.name for column in table.columns]
            cursor.execute(f"SELECT {', '.join(name + '::text' for name in ['id', *names])} FROM {table.name} WHERE id = ANY(ARRAY{ids}) ORDER BY id")
            table.sample = [dict(zip(["id", *names], row)) for row in cursor.fetchall()]

    # -- statements: functions that give a text, each time with other constants ----------------------------------------------------
    def literal(self, value, type_):
        return f"{self.cursor.mogrify('%s', (value,)).decode()}::{type_}" if type_ != "text" else self.cursor.mogrify("%s", (value,)).decode()

    def constant(self, table, column):
        values = [row[column.name] for row in table.sample if row[column.name] is not None]
        return self.literal(self.rng.choice(values), column.type) if values else "NULL"

    def condition(self, alias, table):
        column = self.rng.choice(table.columns)
        name = f"{alias}.{column.name}"
        one = lambda: self.constant(table, column)
        forms = {
            "number": [lambda: f"{name} = {one()}", lambda: f"{name} > {one()}", lambda: f"{name} BETWEEN {one()} AND {one()}",
                       lambda: f"{name} IN ({one()}, {one()}, {one()})", lambda: f"{name} <> {one()}", lambda: f"{name} % 5 = 3"],
            "text": [lambda: f"{name} = {one()}", lambda: f"{name} LIKE {one()[:-1][:7]}%'", lambda: f"lower({name}) = lower({one()})",
                     lambda: f"{name} IN ({one()}, {one()})"],
            "time": [lambda: f"{name} > {one()}", lambda: f"{name} BETWEEN {one()} AND {one()} + interval '1 day'",
                     lambda: f"{name} < {one()}", lambda: f"date_trunc('day', {name}) = date_trunc('day', {one()})"],
            "boolean": [lambda: name, lambda: f"NOT {name}", lambda: f"{name} = {one()}"],
            "json": [lambda: f"{name} @> {one()}", lambda: f"{name}->>'tag' = {one()}->>'tag'", lambda: f"({name}->>'k')::int < {self.rng.randrange(9)}",
                     lambda: f"{name}->>'tag' = 't{self.rng.randrange(50)}'"],
        }[column.kind]
        forms += [lambda: f"{name} IS NULL", lambda: f"{name} IS NOT NULL"]
        return self.rng.choice(forms)

    def select(self):
        rng, table = self.rng, self.rng.choice(self.tables)
        used, joins = [("a", table)], ""
        for alias in "bc"[:rng.choice([0, 0, 1, 2])]:
            below, child = rng.choice(used)
            if child.parents:
                key, parent = rng.choice(list(child.parents.items()))
                joins += f" {rng.choice(['JOIN', 'JOIN', 'LEFT JOIN'])} {parent.name} {alias} ON {alias}.id = {below}.{key}"
                used.append((alias, parent))
        conditions = [self.condition(*rng.choice(used)) for _ in range(rng.randrange(1, 4))]
        link = rng.choice([" AND ", " AND ", " AND ", " OR "])
        column, other = (f"{alias}.{rng.choice(of.columns).name}" for alias, of in (used[0], rng.choice(used)))
        head, tail = rng.choice([
            (f"a.id, {column}, {other}", ""),
            ("a.*", f" ORDER BY {column} {rng.choice(['', 'DESC', 'DESC NULLS LAST'])}, a.id LIMIT {rng.choice([10, 100])}"),
            ("a.*", f" ORDER BY {column} DESC, {other}, a.id LIMIT 20"),
            (f"{column}, count(*)", f" GROUP BY {column} ORDER BY 2 DESC, 1 LIMIT 50"),
            (f"count(*), count(DISTINCT {column})", ""),
            (f"max({rng.choice(used)[0]}.id)", ""),
            (f"a.id, row_number() OVER (PARTITION BY {column} ORDER BY a.id)", " ORDER BY a.id LIMIT 30"),
        ])
        return lambda: f"SELECT {head} FROM {table.name} a{joins} WHERE {link.join(condition() for condition in conditions)}{tail}"

    def nested(self):
        """About a parent, by its children."""
        rng = self.rng
        children = [table for table in self.tables if table.parents]
        if not children:
            return self.select()
        child = rng.choice(children)
        key, parent = rng.choice(list(child.parents.items()))
        condition, above = self.condition("b", child), self.condition("a", parent)
        return rng.choice([
            lambda: f"SELECT a.id FROM {parent.name} a WHERE {above()} AND EXISTS (SELECT FROM {child.name} b WHERE b.{key} = a.id AND {condition()})",
            lambda: f"SELECT count(*) FROM {parent.name} a WHERE a.id IN (SELECT b.{key} FROM {child.name} b WHERE {condition()})",
            lambda: f"SELECT a.id, (SELECT max(b.id) FROM {child.name} b WHERE b.{key} = a.id) FROM {parent.name} a WHERE {above()} ORDER BY a.id LIMIT 20",
            lambda: f"WITH found AS (SELECT b.{key} AS k, count(*) AS n FROM {child.name} b WHERE {condition()} GROUP BY 1) "
                    f"SELECT a.id, found.n FROM {parent.name} a JOIN found ON found.k = a.id ORDER BY found.n DESC, a.id LIMIT 10",
        ])

    def write(self):
        rng, table = self.rng, self.rng.choice(self.tables)
        column = rng.choice(table.columns)
        condition = self.condition("a", table)
        names = ["id", *table.parents, *(c.name for c in table.columns)]
        old = lambda: rng.choice(table.sample)["id"]
        # An id below 0 is not there yet.
        insert = lambda: (f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(['-1 - id', *names[1:]])} FROM {table.name} WHERE id = {old()}")
        forms = [insert, insert, lambda: f"UPDATE {table.name} SET {column.name} = {self.constant(table, column)} WHERE id = {old()}",
                 lambda: f"UPDATE {table.name} a SET {column.name} = {self.constant(table, column)} WHERE {condition()} AND id <= {table.rows // 20}"]
        if not any(table in other.parents.values() for other in self.tables):
            forms.append(lambda: f"DELETE FROM {table.name} WHERE id = {old()}")
        return rng.choice(forms)

    def workload(self):
        """[(calls, the texts that they send)]: each statement with three sets of constants."""
        made = []
        for _ in range(self.rng.randrange(3, 9)):
            make = self.rng.choices([self.select, self.nested, self.write], [6, 2, 2])[0]()
            made.append((self.rng.choice([20, 30, 45]), [make() for _ in range(3)]))
        return made
