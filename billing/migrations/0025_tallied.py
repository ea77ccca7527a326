"""Each time that a payment comes into a state is a row of core_tally; those that are there count where they stand."""

from django.db import migrations

TALLY = """
CREATE FUNCTION billing_payment_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO core_tally (name, labels, n) VALUES ('payments', ARRAY[NEW.gateway, NEW.state], 1);
    RETURN NULL;
END $$;
CREATE TRIGGER tally_added AFTER INSERT ON billing_payment FOR EACH ROW EXECUTE FUNCTION billing_payment_tally();
CREATE TRIGGER tally_moved AFTER UPDATE OF state ON billing_payment FOR EACH ROW WHEN (OLD.state <> NEW.state)
    EXECUTE FUNCTION billing_payment_tally();
INSERT INTO core_tally (name, labels, n) SELECT 'payments', ARRAY[gateway, state], count(*) FROM billing_payment GROUP BY 2;
"""
BACK = """
DROP FUNCTION billing_payment_tally() CASCADE;
DELETE FROM core_tally WHERE name = 'payments';
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0024_outstanding"), ("core", "0003_tally")]
    operations = [migrations.RunSQL(TALLY, BACK)]
