"""Each time that a mail comes into a state is a row of core_tally; those that are there count where they stand."""

from django.db import migrations

TALLY = """
CREATE FUNCTION notifications_mail_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO core_tally (name, labels, n) VALUES ('emails', ARRAY[NEW.name, NEW.state], 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_added AFTER INSERT ON notifications_mail FOR EACH ROW EXECUTE FUNCTION notifications_mail_tally();
CREATE TRIGGER tally_moved AFTER UPDATE OF state ON notifications_mail FOR EACH ROW WHEN (OLD.state <> NEW.state)
    EXECUTE FUNCTION notifications_mail_tally();
INSERT INTO core_tally (name, labels, n) SELECT 'emails', ARRAY[name, state], count(*) FROM notifications_mail GROUP BY 2;
"""
BACK = """
DROP FUNCTION notifications_mail_tally() CASCADE;
DELETE FROM core_tally WHERE name = 'emails';
"""


class Migration(migrations.Migration):
    dependencies = [("notifications", "0005_dead_letters"), ("core", "0003_tally")]
    operations = [migrations.RunSQL(TALLY, BACK)]
