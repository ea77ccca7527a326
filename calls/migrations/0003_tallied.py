"""Each time that a call comes into a state is a row of core_tally; those that are there count where they stand."""

from django.db import migrations

TALLY = """
CREATE FUNCTION calls_call_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO core_tally (name, labels, n) VALUES ('calls', ARRAY[NEW.state], 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_added AFTER INSERT ON calls_call FOR EACH ROW EXECUTE FUNCTION calls_call_tally();
CREATE TRIGGER tally_moved AFTER UPDATE OF state ON calls_call FOR EACH ROW WHEN (OLD.state <> NEW.state)
    EXECUTE FUNCTION calls_call_tally();
INSERT INTO core_tally (name, labels, n) SELECT 'calls', ARRAY[state], count(*) FROM calls_call GROUP BY 2;
"""
BACK = """
DROP FUNCTION calls_call_tally() CASCADE;
DELETE FROM core_tally WHERE name = 'calls';
"""


class Migration(migrations.Migration):
    dependencies = [("calls", "0002_ended_by_staff"), ("core", "0003_tally")]
    operations = [migrations.RunSQL(TALLY, BACK)]
