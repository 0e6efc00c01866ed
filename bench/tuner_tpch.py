"""TPC-H for `./dev bench tuner_quality`: its schema, data by PyPI's tpcgen-cli, and the queries of tuner_tpch.sql."""
import pathlib
import re
import subprocess
import sys

GENERATOR = "tpcgen-cli==4.0.0"
QUERIES = pathlib.Path(__file__).with_name("tuner_tpch.sql")

# name: columns, primary key
TABLES = {
    "region": ("r_regionkey integer NOT NULL, r_name char(25) NOT NULL, r_comment varchar(152)", "r_regionkey"),
    "nation": ("n_nationkey integer NOT NULL, n_name char(25) NOT NULL, n_regionkey integer NOT NULL, n_comment varchar(152)",
               "n_nationkey"),
    "part": ("p_partkey integer NOT NULL, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL, "
             "p_type varchar(25) NOT NULL, p_size integer NOT NULL, p_container char(10) NOT NULL, "
             "p_retailprice decimal(15,2) NOT NULL, p_comment varchar(23) NOT NULL", "p_partkey"),
    "supplier": ("s_suppkey integer NOT NULL, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL, "
                 "s_nationkey integer NOT NULL, s_phone char(15) NOT NULL, s_acctbal decimal(15,2) NOT NULL, "
                 "s_comment varchar(101) NOT NULL", "s_suppkey"),
    "partsupp": ("ps_partkey integer NOT NULL, ps_suppkey integer NOT NULL, ps_availqty integer NOT NULL, "
                 "ps_supplycost decimal(15,2) NOT NULL, ps_comment varchar(199) NOT NULL", "ps_partkey, ps_suppkey"),
    "customer": ("c_custkey integer NOT NULL, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, "
                 "c_nationkey integer NOT NULL, c_phone char(15) NOT NULL, c_acctbal decimal(15,2) NOT NULL, "
                 "c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL", "c_custkey"),
    "orders": ("o_orderkey integer NOT NULL, o_custkey integer NOT NULL, o_orderstatus char(1) NOT NULL, "
               "o_totalprice decimal(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, "
               "o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL, o_comment varchar(79) NOT NULL", "o_orderkey"),
    "lineitem": ("l_orderkey integer NOT NULL, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, "
                 "l_linenumber integer NOT NULL, l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL, "
                 "l_discount decimal(15,2) NOT NULL, l_tax decimal(15,2) NOT NULL, l_returnflag char(1) NOT NULL, "
                 "l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, "
                 "l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, "
                 "l_comment varchar(44) NOT NULL", "l_orderkey, l_linenumber"),
}


def queries():
    """The statements, in the order of their file."""
    text = re.sub(r"^--.*\n", "", QUERIES.read_text(), flags=re.M)
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def columns(table):
    return re.findall(r"(?:^|, )([a-z]+_\w+) ", TABLES[table][0])


def generator(folder):
    """The program, installed below `folder` the first time."""
    program = folder / "tools" / "bin" / "tpcgen-cli"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", folder / "tools", GENERATOR], check=True)
    return program


def fill(connection, folder, scale, primary_keys):
    """Makes the tables in an empty database. Nothing changes them, or what is known of them, afterwards."""
    program = generator(folder)
    with connection.cursor() as cursor:
        for table, (definition, key) in TABLES.items():
            cursor.execute(f"CREATE TABLE {table} ({definition}) WITH (autovacuum_enabled = off)")
            command = [program, "tpch", "csv", "-s", str(scale), "--tables", table, "--stdout"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as made:
                cursor.copy_expert(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)", made.stdout)
                complaint = made.stderr.read().decode()
            if made.returncode:
                sys.exit(f"tpcgen-cli: {complaint}")
            if primary_keys:
                cursor.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({key})")
        # So that a second run finds the same statistics as the first.
        cursor.execute("VACUUM (FREEZE, ANALYZE)")
