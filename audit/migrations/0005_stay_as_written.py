"""The log, its details and its seals stay as they were written, whatever a session sets.

Only the owner of the tables may purge, by saying so for its transaction: rows of the log go, seals lose their lists.
"""

from django.db import migrations

REFUSE = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('audit.purge', true) = 'on'
            AND pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_auditlog' THEN
            RETURN OLD;
        ELSIF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'audit_seal' THEN
            IF to_jsonb(NEW) = to_jsonb(OLD) || '{"members": null, "leaves": null}' THEN
                RETURN NEW;
            END IF;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP;
END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit_auditlog FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_stays_whole BEFORE TRUNCATE ON audit_auditlog EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit_auditdetail FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_stays_whole BEFORE TRUNCATE ON audit_auditdetail EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit_seal FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_stays_whole BEFORE TRUNCATE ON audit_seal EXECUTE FUNCTION audit_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_seals")]
    operations = [migrations.RunSQL(REFUSE, "DROP FUNCTION audit_refuse() CASCADE")]
