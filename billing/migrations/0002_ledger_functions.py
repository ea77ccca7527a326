"""The ledger's plpgsql functions and append-only guards; the SQL lies beside, in a file that editors can read."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "0002_ledger_functions.sql"
DROP = """
DROP FUNCTION ledger_refuse_change CASCADE;
DROP FUNCTION ledger_refuse_imbalance CASCADE;
DROP FUNCTION ledger_post_house, ledger_grant, ledger_release, ledger_capture, ledger_extend,
    ledger_hold, ledger_burn, ledger_expire_due, ledger_audit, ledger_recall, ledger_write, ledger_house, ledger_new_id;
ALTER TABLE billing_wallet RESET (fillfactor);
ALTER TABLE billing_creditlot RESET (fillfactor);
ALTER TABLE billing_hold RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial"), ("billing", "0001_ledger")]

    operations = [migrations.RunSQL(SQL.read_text(), DROP)]
