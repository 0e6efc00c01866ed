"""What an extension has put into PostgreSQL's catalogs, as text that two servers can be compared by (no OIDs)."""

MEMBERS = """
SELECT pg_identify_object(classid, objid, objsubid)::text FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vector') AND deptype = 'e'"""

OF_EXTENSION = """IN (SELECT objid FROM pg_depend WHERE classid = '{0}'::regclass AND deptype = 'e'
    AND refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vector'))"""

CATALOGS = {
    "functions": ("pg_proc", """
        SELECT p.oid::regprocedure, prokind, prosrc, probin, prorettype::regtype, provolatile, proparallel, proisstrict, proleakproof, prosecdef,
               proretset, procost, prorows, l.lanname, prosupport, pronargdefaults, proacl, obj_description(p.oid)
        FROM pg_proc p JOIN pg_language l ON l.oid = prolang WHERE p.oid {0}"""),
    "aggregates": ("pg_proc", """
        SELECT aggfnoid::regprocedure, aggkind, aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, aggtranstype::regtype,
               aggtransspace, aggsortop::regoperator, agginitval, aggfinalmodify FROM pg_aggregate WHERE aggfnoid {0}"""),
    "types": ("pg_type", """
        SELECT oid::regtype, typlen, typbyval, typtype, typcategory, typispreferred, typinput, typoutput, typreceive, typsend, typmodin, typmodout,
               typanalyze, typsubscript, typelem::regtype, typalign, typstorage, typcollation, typdefault FROM pg_type WHERE oid {0}"""),
    "operators": ("pg_operator", """
        SELECT oid::regoperator, oprcode, oprresult::regtype, oprcom::regoperator, oprnegate::regoperator, oprrest, oprjoin, oprcanmerge, oprcanhash
        FROM pg_operator WHERE oid {0}"""),
    "casts": ("pg_cast", """
        SELECT castsource::regtype, casttarget::regtype, castfunc::regprocedure, castcontext, castmethod FROM pg_cast WHERE oid {0}"""),
    "access methods": ("pg_am", "SELECT amname, amhandler, amtype FROM pg_am WHERE oid {0}"),
    "operator classes": ("pg_opclass", """
        SELECT amname, opcname, opfname, opcintype::regtype, opcdefault, opckeytype::regtype
        FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod JOIN pg_opfamily f ON f.oid = opcfamily WHERE c.oid {0}"""),
    "operators of classes": ("pg_opfamily", """
        SELECT amname, opfname, amoplefttype::regtype, amoprighttype::regtype, amopstrategy, amoppurpose, amopopr::regoperator,
               (SELECT opfname FROM pg_opfamily WHERE oid = amopsortfamily)
        FROM pg_amop o JOIN pg_opfamily f ON f.oid = amopfamily JOIN pg_am a ON a.oid = amopmethod WHERE f.oid {0}"""),
    "functions of classes": ("pg_opfamily", """
        SELECT amname, opfname, amproclefttype::regtype, amprocrighttype::regtype, amprocnum, amproc::regprocedure
        FROM pg_amproc p JOIN pg_opfamily f ON f.oid = amprocfamily JOIN pg_am a ON a.oid = opfmethod WHERE f.oid {0}"""),
}


def catalog_of(session):
    """{kind: set of rows as text}"""
    found = {kind: set(session.column(f"SELECT (x.*)::text FROM ({query.format(OF_EXTENSION.format(catalog))}) x"))
             for kind, (catalog, query) in CATALOGS.items()}
    found["members"] = set(session.column(MEMBERS))
    return found


def differences(one, other):
    """{kind: (rows of the one only, rows of the other only)}, where there are any."""
    return {kind: (sorted(one[kind] - other[kind]), sorted(other[kind] - one[kind])) for kind in one if one[kind] != other[kind]}
