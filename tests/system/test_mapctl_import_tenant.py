# SPDX-License-Identifier: Apache-2.0
"""mapctl import and export as a tenant: its own domain, and nothing else."""
from tests.system.lib import sql, unique
from tests.system.lib.import_list import BAD, GOOD, run


def as_role(lab, role, *arguments, given=b""):
    return run(lab, "--database", f"user={role}", *arguments, given=given)


def test_T56_a_tenant_loads_its_own_domain_and_no_line_of_another(fresh_lab):
    lab = fresh_lab
    role = unique("tenant")
    sql(
        lab,
        "INSERT INTO domain (name) VALUES ('t.example'), ('o.example');"
        f"SELECT tenants_enable(); CREATE ROLE {role} LOGIN; SELECT tenant_grant('{role}', 't.example');"
        "INSERT INTO cn_mapping (cn, identity) VALUES ('0004F2000001', 'a@o.example');"
        "INSERT INTO device_info (cn, label) VALUES ('0004F2000001', 'operator')",
    )
    before = "0004F2000001", "a@o.example"
    given = (
        b"cn,identity,label\n0004F2000001,x@t.example,mine\n"
        b"0004F2000002,\"y@t.example,t.example\",theirs\n"
    )
    done = as_role(lab, role, "import", "--format", "csv", "-", given=given)
    assert (done.status, done.err) == (GOOD, "")
    own = {
        ("0004F2000001", "x@t.example"),
        ("0004F2000002", "y@t.example"),
        ("0004F2000002", "t.example"),
    }
    everything = "SELECT cn, identity FROM cn_mapping WHERE trust_store = 'device'"
    assert set(sql(lab, everything)) == {before, *own}
    assert sql(lab, "SELECT cn, label FROM device_info") == [("0004F2000001", "operator")]
    assert set(sql(lab, "SELECT cn, label, domain FROM tenant_device")) == {
        ("0004F2000001", "mine", "t.example"),
        ("0004F2000002", "theirs", "t.example"),
    }
    wrong = b"0004F2000003\tq@t.example\n0004F2000004\tz@o.example\n0004F2000005\to.example\n"
    done = as_role(lab, role, "import", "-", given=wrong)
    assert done.status == BAD
    assert '-:2: "z@o.example" is in a domain that is not yours; write identities of t.example' in done.err
    assert "-:3: " in done.err and "-:1: " not in done.err
    assert set(sql(lab, everything)) == {before, *own}
    # What it does not see it neither writes out nor replaces away.
    done = as_role(lab, role, "export")
    assert done.out == "0004F2000001\tx@t.example\n0004F2000002\tt.example,y@t.example\n"
    done = as_role(lab, role, "import", "--replace", "--yes", "-", given=b"0004F2000009\tn@t.example\n")
    assert done.status == GOOD, done.err
    assert set(sql(lab, everything)) == {before, ("0004F2000009", "n@t.example")}
    assert sql(lab, "SELECT cn FROM tenant_device") == [], "what was known goes with the last identity"
    assert sql(lab, "SELECT cn, label FROM device_info") == [("0004F2000001", "operator")]


def test_T56_two_tenants_label_one_device_and_each_gets_its_own_list_back(fresh_lab):
    lab = fresh_lab
    roles = {name: unique("tenant") for name in "ab"}
    sql(lab, "INSERT INTO domain (name) VALUES ('a.example'), ('b.example'); SELECT tenants_enable()")
    for name, role in roles.items():
        sql(lab, f"CREATE ROLE {role} LOGIN; SELECT tenant_grant('{role}', '{name}.example')")
    sql(lab, "INSERT INTO device_info (cn, label, site) VALUES ('0004F2000001', 'Desk', 'operator')")
    shared, csv = "0004F2000001", ("--format", "csv")
    lists = {
        name: 'cn,identity,label,site\n'
        f'"{shared}","u@{name}.example","Label {name}","Site {name}"\n'
        f'"0004F200000{at}","v@{name}.example","","Only {name}"\n'
        for at, name in enumerate(roles, 2)
    }
    for name, role in roles.items():
        done = as_role(lab, role, "import", *csv, "-", given=lists[name].encode())
        # To a tenant it looks as if it were alone: the CN is nobody else's.
        assert (done.status, done.err) == (GOOD, "")
        assert "labels and sites: 2 devices" in done.out
    for name, role in roles.items():
        assert as_role(lab, role, "export", *csv).out == lists[name]
        given = lists[name].encode()
        done = as_role(lab, role, "import", *csv, "--replace", "--yes", "-", given=given)
        assert done.status == GOOD and "labels and sites" not in done.out, done.out + done.err
    changed = lists["a"].replace("Label a", "New").encode()
    assert as_role(lab, roles["a"], "import", *csv, "-", given=changed).status == GOOD
    assert as_role(lab, roles["a"], "export", *csv).out.encode() == changed
    assert as_role(lab, roles["b"], "export", *csv).out == lists["b"]
    done = run(lab, "export", *csv)
    assert f'"{shared}","u@a.example,u@b.example","Desk","operator"\n' in done.out, done.out
    assert "Label" not in done.out and "Only" not in done.out
    # The operator's list takes mappings of all, and what is known of a device that has none left.
    given = f"{shared}\tu@b.example\n".encode()
    assert run(lab, "import", "--replace", "--yes", "-", given=given).status == GOOD
    assert set(sql(lab, "SELECT cn FROM tenant_device")) == {(shared,)}
