"""Each time that a job comes into a state is a row of core_tally; those that are there count where they stand."""

from django.db import migrations

TALLY = """
CREATE FUNCTION generation_generation_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO core_tally (name, labels, n) VALUES ('generations', ARRAY[NEW.kind, NEW.provider, NEW.state], 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_added AFTER INSERT ON generation_generation FOR EACH ROW EXECUTE FUNCTION generation_generation_tally();
CREATE TRIGGER tally_moved AFTER UPDATE OF state ON generation_generation FOR EACH ROW WHEN (OLD.state <> NEW.state)
    EXECUTE FUNCTION generation_generation_tally();
INSERT INTO core_tally (name, labels, n) SELECT 'generations', ARRAY[kind, provider, state], count(*) FROM generation_generation GROUP BY 2;
"""
BACK = """
DROP FUNCTION generation_generation_tally() CASCADE;
DELETE FROM core_tally WHERE name = 'generations';
"""


class Migration(migrations.Migration):
    dependencies = [("generation", "0014_staff_acts"), ("core", "0003_tally")]
    operations = [migrations.RunSQL(TALLY, BACK)]
