"""Each time that a webhook comes into a state is a row of core_tally; those that are there count where they stand."""

from django.db import migrations

TALLY = """
CREATE FUNCTION inbox_delivery_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO core_tally (name, labels, n) VALUES ('webhooks', ARRAY[NEW.provider, NEW.state], 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_added AFTER INSERT ON inbox_delivery FOR EACH ROW EXECUTE FUNCTION inbox_delivery_tally();
CREATE TRIGGER tally_moved AFTER UPDATE OF state ON inbox_delivery FOR EACH ROW WHEN (OLD.state <> NEW.state)
    EXECUTE FUNCTION inbox_delivery_tally();
INSERT INTO core_tally (name, labels, n) SELECT 'webhooks', ARRAY[provider, state], count(*) FROM inbox_delivery GROUP BY 2;
"""
BACK = """
DROP FUNCTION inbox_delivery_tally() CASCADE;
DELETE FROM core_tally WHERE name = 'webhooks';
"""


class Migration(migrations.Migration):
    dependencies = [("inbox", "0003_replays"), ("core", "0003_tally")]
    operations = [migrations.RunSQL(TALLY, BACK)]
