-- The ledger's hot operations, one round trip each, and the guards of its append-only tables.
--
-- All are VOLATILE plpgsql for READ COMMITTED: every statement after the wait for the wallet's row sees what the
-- transaction before us committed. (One CTE would read the lots as they were before the wait, and fail though the
-- credits are there.) A refusal is a returned status, never an exception: that would poison the caller's transaction.
-- An exception here means that the books are already wrong.

-- UUIDv7, so that rows sort by birth as those made in Python do; PostgreSQL has its own only from 18. The twelve bits
-- after the version carry the microsecond (RFC 9562, method 3): lots of one millisecond still know which is older.
CREATE FUNCTION ledger_new_id() RETURNS uuid LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
    v_us bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    v_head bigint := ((v_us / 1000) << 16) | (7 << 12) | (((v_us % 1000) << 12) / 1000);
BEGIN
    RETURN encode(int8send(v_head) || substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid;
END $$;


-- Our own wallet of a kind and unit, made when first needed.
CREATE FUNCTION ledger_house(p_kind text, p_unit text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid;
BEGIN
    SELECT id INTO v_id FROM billing_wallet WHERE user_id IS NULL AND kind = p_kind AND unit = p_unit;
    IF NOT FOUND THEN
        INSERT INTO billing_wallet (id, kind, unit, held, frozen)
            VALUES (ledger_new_id(), p_kind, p_unit, 0, 0)
            ON CONFLICT (kind, unit) WHERE user_id IS NULL DO NOTHING;
        SELECT id INTO STRICT v_id FROM billing_wallet WHERE user_id IS NULL AND kind = p_kind AND unit = p_unit;
    END IF;
    RETURN v_id;
END $$;


-- Write one transaction with its two sides: p_amount on p_wallet, the opposite on p_other. Returns its id, or null
-- when the key is already taken (then nothing is written and the caller compares).
CREATE FUNCTION ledger_write(
    p_kind text, p_key text, p_unit text, p_subject_type text, p_subject_id uuid, p_actor uuid, p_memo text,
    p_wallet uuid, p_amount bigint, p_balance_after bigint, p_other uuid, p_other_balance_after bigint
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid;
BEGIN
    INSERT INTO billing_ledgertransaction (id, kind, key, unit, subject_type, subject_id, actor_id, memo)
        VALUES (ledger_new_id(), p_kind, p_key, p_unit, p_subject_type, p_subject_id, p_actor, p_memo)
        ON CONFLICT (key) DO NOTHING
        RETURNING id INTO v_id;
    IF v_id IS NOT NULL THEN
        INSERT INTO billing_ledgerentry (transaction_id, wallet_id, amount, balance_after)
            VALUES (v_id, p_wallet, p_amount, p_balance_after), (v_id, p_other, -p_amount, p_other_balance_after);
    END IF;
    RETURN v_id;
END $$;


-- What an earlier call under this key wrote, if it is the same cause: kind, wallet, amount and subject agree.
CREATE FUNCTION ledger_recall(
    p_key text, p_kind text, p_wallet uuid, p_amount bigint, p_subject_type text, p_subject_id uuid,
    OUT transaction_id uuid, OUT balance_after bigint
) LANGUAGE sql STABLE AS $$
    SELECT t.id, e.balance_after
    FROM billing_ledgertransaction t
    JOIN billing_ledgerentry e ON e.transaction_id = t.id AND e.wallet_id = p_wallet AND e.amount = p_amount
    WHERE t.key = p_key AND t.kind = p_kind AND t.subject_type = p_subject_type AND t.subject_id = p_subject_id
$$;


-- One audit row about the subject of a movement, in the same round trip and transaction. p_context is what
-- billing.ledger.calls makes of core.context: actor, on_behalf_of, source, request_id, and where a person asked also
-- ip, user_agent and `detail`, the text of which audit.trail keeps a salted hash. Without a context nothing is told.
CREATE FUNCTION ledger_audit(
    p_action text, p_unit text, p_subject_type text, p_subject_id uuid, p_user uuid, p_new jsonb, p_metadata jsonb,
    p_context jsonb
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_salt bytea := CASE WHEN p_context ? 'detail' THEN uuid_send(gen_random_uuid()) END;
    v_log bigint;
BEGIN
    IF p_context IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO audit_auditlog (action, entity_type, entity_id, user_id, actor_id, on_behalf_of_id, source,
                                request_id, new, metadata, detail_hash)
        VALUES (CASE p_unit WHEN 'CREDIT' THEN 'credits.' ELSE 'wallet.' END || p_action, p_subject_type, p_subject_id,
                p_user, (p_context ->> 'actor')::uuid, (p_context ->> 'on_behalf_of')::uuid, p_context ->> 'source',
                p_context ->> 'request_id', p_new, p_metadata,
                sha256(v_salt || convert_to(p_context ->> 'detail', 'UTF8')))
        RETURNING id INTO v_log;
    IF v_salt IS NOT NULL THEN
        INSERT INTO audit_auditdetail (log_id, salt, ip, user_agent, personal)
            VALUES (v_log, v_salt, (p_context ->> 'ip')::inet, p_context ->> 'user_agent', '{}');
    END IF;
END $$;


-- Take what has expired. The caller holds the wallet's row lock and passes the row; the changed row comes back.
-- What is held counts against the soonest to end, and frozen credits do not end.
CREATE FUNCTION ledger_expire_due(INOUT w billing_wallet, p_context jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_covered bigint := w.held;
    v_house uuid := ledger_house('expired', w.unit);
    v_take bigint;
    lot record;
BEGIN
    FOR lot IN
        SELECT id, remaining, remaining - frozen AS free
        FROM billing_creditlot
        WHERE wallet_id = w.id AND exhausted_at IS NULL AND expires_at <= v_now AND remaining > frozen
        ORDER BY expires_at, category <> 'promo', id
    LOOP
        v_take := greatest(0, lot.free - v_covered);
        v_covered := greatest(0, v_covered - lot.free);
        CONTINUE WHEN v_take = 0;
        w.balance := w.balance - v_take;
        -- What remains of a lot only ever falls, so this key is met once.
        IF ledger_write('expiry', 'expiry:' || lot.id || ':' || lot.remaining, w.unit, 'lot', lot.id, NULL, '',
                        w.id, -v_take, w.balance, v_house, NULL) IS NULL THEN
            RAISE EXCEPTION 'lot % has already expired from %', lot.id, lot.remaining;
        END IF;
        UPDATE billing_creditlot
            SET remaining = remaining - v_take,
                exhausted_at = CASE WHEN remaining = v_take THEN v_now END
            WHERE id = lot.id;
        PERFORM ledger_audit('expired', w.unit, 'lot', lot.id, w.user_id,
                             jsonb_build_object('amount', v_take, 'balance', w.balance), '{}', p_context);
    END LOOP;
    SELECT min(expires_at) INTO w.next_expiry_at
        FROM billing_creditlot WHERE wallet_id = w.id AND exhausted_at IS NULL AND remaining > frozen;
    w.updated_at := v_now;
    UPDATE billing_wallet
        SET balance = w.balance, next_expiry_at = w.next_expiry_at, updated_at = w.updated_at
        WHERE id = w.id;
END $$;


-- Take p_amount from the wallet's lots: soonest to end, then promo before paid, then oldest. Caller holds the wallet.
CREATE FUNCTION ledger_burn(p_wallet uuid, p_amount bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_need bigint := p_amount;
    v_take bigint;
    lot record;
BEGIN
    FOR lot IN
        SELECT id, remaining - frozen AS free
        FROM billing_creditlot
        WHERE wallet_id = p_wallet AND exhausted_at IS NULL AND remaining > frozen
        ORDER BY expires_at NULLS LAST, category <> 'promo', id
    LOOP
        v_take := least(v_need, lot.free);
        UPDATE billing_creditlot
            SET remaining = remaining - v_take,
                exhausted_at = CASE WHEN remaining = v_take THEN clock_timestamp() END
            WHERE id = lot.id;
        v_need := v_need - v_take;
        EXIT WHEN v_need = 0;
    END LOOP;
    IF v_need > 0 THEN
        RAISE EXCEPTION 'the lots of wallet % fall % short of its balance', p_wallet, v_need;
    END IF;
END $$;


-- Promise an amount to a subject. status: ok, insufficient, debt_outstanding, mismatch.
CREATE FUNCTION ledger_hold(
    p_user uuid, p_wallet_kind text, p_unit text, p_amount bigint, p_key text,
    p_subject_type text, p_subject_id uuid, p_alarm_at timestamptz, p_context jsonb,
    OUT status text, OUT hold_id uuid, OUT available bigint, OUT is_replay boolean
) LANGUAGE plpgsql AS $$
DECLARE
    w billing_wallet;
    h billing_hold;
    v_refusal text;
BEGIN
    is_replay := false;
    SELECT * INTO w FROM billing_wallet
        WHERE user_id = p_user AND kind = p_wallet_kind AND unit = p_unit FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        status := 'insufficient';
        available := 0;
        RETURN;
    END IF;
    IF w.next_expiry_at <= clock_timestamp() THEN
        w := ledger_expire_due(w, p_context);
    END IF;
    available := w.balance - w.held - w.frozen;

    IF EXISTS (SELECT FROM billing_debt WHERE user_id = p_user AND remaining > 0 AND is_blocking) THEN
        v_refusal := 'debt_outstanding';
    ELSIF available < p_amount THEN
        v_refusal := 'insufficient';
    ELSE
        INSERT INTO billing_hold (id, wallet_id, key, opening_amount, amount, captured, state,
                                  subject_type, subject_id, alarm_at)
            VALUES (ledger_new_id(), w.id, p_key, p_amount, p_amount, 0, 'open',
                    p_subject_type, p_subject_id, p_alarm_at)
            ON CONFLICT (key) DO NOTHING
            RETURNING id INTO hold_id;
        IF hold_id IS NOT NULL THEN
            UPDATE billing_wallet SET held = held + p_amount, updated_at = clock_timestamp() WHERE id = w.id;
            status := 'ok';
            available := available - p_amount;
            PERFORM ledger_audit('held', p_unit, p_subject_type, p_subject_id, p_user,
                                 jsonb_build_object('amount', p_amount, 'available', available),
                                 jsonb_build_object('hold', p_key), p_context);
            RETURN;
        END IF;
    END IF;

    -- Refused, or the key is taken: a twin of an earlier call gets that call's answer either way.
    SELECT * INTO h FROM billing_hold WHERE key = p_key;
    IF NOT FOUND THEN
        status := v_refusal;
    ELSIF h.wallet_id = w.id AND h.opening_amount = p_amount
            AND h.subject_type = p_subject_type AND h.subject_id = p_subject_id THEN
        status := 'ok';
        hold_id := h.id;
        is_replay := true;
    ELSE
        status := 'mismatch';
    END IF;
END $$;


-- Raise an open hold to an absolute amount. status: ok, insufficient, debt_outstanding, closed, unknown.
CREATE FUNCTION ledger_extend(
    p_key text, p_to bigint, p_context jsonb,
    OUT status text, OUT hold_id uuid, OUT amount bigint, OUT available bigint
) LANGUAGE plpgsql AS $$
DECLARE
    w billing_wallet;
    h billing_hold;
BEGIN
    SELECT wallet.* INTO w
        FROM billing_wallet wallet JOIN billing_hold ON billing_hold.wallet_id = wallet.id
        WHERE billing_hold.key = p_key FOR NO KEY UPDATE OF wallet;
    IF NOT FOUND THEN
        status := 'unknown';
        RETURN;
    END IF;
    -- Read after the wait: the hold changes only under its wallet's lock.
    SELECT * INTO h FROM billing_hold WHERE key = p_key;
    IF h.state = 'open' AND w.next_expiry_at <= clock_timestamp() THEN
        w := ledger_expire_due(w, p_context);
    END IF;
    hold_id := h.id;
    amount := h.amount;
    available := w.balance - w.held - w.frozen;
    IF h.state <> 'open' THEN
        status := 'closed';
    ELSIF p_to <= h.amount THEN
        status := 'ok';
    ELSIF EXISTS (SELECT FROM billing_debt d WHERE d.user_id = w.user_id AND d.remaining > 0 AND d.is_blocking) THEN
        status := 'debt_outstanding';
    ELSIF available < p_to - h.amount THEN
        status := 'insufficient';
    ELSE
        UPDATE billing_wallet SET held = held + p_to - h.amount, updated_at = clock_timestamp() WHERE id = w.id;
        UPDATE billing_hold SET amount = p_to WHERE id = h.id;
        status := 'ok';
        available := available - (p_to - h.amount);
        amount := p_to;
        PERFORM ledger_audit('extended', w.unit, h.subject_type, h.subject_id, w.user_id,
                             jsonb_build_object('amount', p_to, 'available', available),
                             jsonb_build_object('hold', p_key), p_context);
    END IF;
END $$;


-- Take an open hold's amount, or a part, for good and free the rest. Always succeeds on an open hold.
-- status: ok, released, mismatch (captured before with another amount), excessive, unknown.
CREATE FUNCTION ledger_capture(
    p_key text, p_amount bigint, p_actor uuid, p_memo text, p_context jsonb,
    OUT status text, OUT transaction_id uuid, OUT amount bigint, OUT before bigint, OUT after bigint,
    OUT available bigint, OUT user_id uuid, OUT unit text, OUT is_replay boolean
) LANGUAGE plpgsql AS $$
DECLARE
    w billing_wallet;
    h billing_hold;
BEGIN
    is_replay := false;
    SELECT wallet.* INTO w
        FROM billing_wallet wallet JOIN billing_hold ON billing_hold.wallet_id = wallet.id
        WHERE billing_hold.key = p_key FOR NO KEY UPDATE OF wallet;
    IF NOT FOUND THEN
        status := 'unknown';
        RETURN;
    END IF;
    SELECT * INTO h FROM billing_hold WHERE key = p_key;
    user_id := w.user_id;
    unit := w.unit;
    amount := coalesce(p_amount, h.amount);
    IF h.state = 'released' THEN
        status := 'released';
    ELSIF h.state = 'captured' THEN
        status := CASE WHEN p_amount IS NULL OR p_amount = h.captured THEN 'ok' ELSE 'mismatch' END;
        amount := h.captured;
        is_replay := true;
        SELECT t.id, e.balance_after INTO transaction_id, after
            FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
            WHERE t.key = p_key || ':capture' AND e.wallet_id = w.id;
        before := after + amount;
        available := w.balance - w.held - w.frozen;
    ELSIF amount > h.amount OR amount <= 0 THEN
        status := 'excessive';
    ELSE
        IF w.unit = 'CREDIT' THEN
            PERFORM ledger_burn(w.id, amount);
        END IF;
        before := w.balance - w.frozen;
        after := before - amount;
        w.balance := w.balance - amount;
        w.held := w.held - h.amount;
        w.updated_at := clock_timestamp();
        transaction_id := ledger_write(
            'spend', p_key || ':capture', w.unit, h.subject_type, h.subject_id, p_actor, p_memo,
            w.id, -amount, w.balance,
            ledger_house(CASE WHEN w.unit = 'CREDIT' THEN 'spent' ELSE 'sales' END, w.unit), NULL);
        IF transaction_id IS NULL THEN
            RAISE EXCEPTION 'hold % is open, yet its capture is in the books', p_key;
        END IF;
        UPDATE billing_hold SET state = 'captured', captured = ledger_capture.amount, closed_at = w.updated_at
            WHERE id = h.id;
        UPDATE billing_wallet SET balance = w.balance, held = w.held, updated_at = w.updated_at WHERE id = w.id;
        IF w.next_expiry_at <= w.updated_at THEN
            w := ledger_expire_due(w, p_context);
        END IF;
        status := 'ok';
        available := w.balance - w.held - w.frozen;
        PERFORM ledger_audit('captured', w.unit, h.subject_type, h.subject_id, w.user_id,
                             jsonb_build_object('amount', amount, 'balance', w.balance),
                             jsonb_build_object('hold', p_key, 'transaction', transaction_id), p_context);
    END IF;
END $$;


-- Free an open hold. status: ok, captured, unknown.
CREATE FUNCTION ledger_release(
    p_key text, p_context jsonb,
    OUT status text, OUT hold_id uuid, OUT amount bigint, OUT available bigint, OUT user_id uuid,
    OUT is_replay boolean
) LANGUAGE plpgsql AS $$
DECLARE
    w billing_wallet;
    h billing_hold;
BEGIN
    is_replay := false;
    SELECT wallet.* INTO w
        FROM billing_wallet wallet JOIN billing_hold ON billing_hold.wallet_id = wallet.id
        WHERE billing_hold.key = p_key FOR NO KEY UPDATE OF wallet;
    IF NOT FOUND THEN
        status := 'unknown';
        RETURN;
    END IF;
    SELECT * INTO h FROM billing_hold WHERE key = p_key;
    hold_id := h.id;
    amount := h.amount;
    user_id := w.user_id;
    IF h.state = 'captured' THEN
        status := 'captured';
    ELSE
        status := 'ok';
        is_replay := h.state = 'released';
        IF NOT is_replay THEN
            w.held := w.held - h.amount;
            w.updated_at := clock_timestamp();
            UPDATE billing_hold SET state = 'released', closed_at = w.updated_at WHERE id = h.id;
            UPDATE billing_wallet SET held = w.held, updated_at = w.updated_at WHERE id = w.id;
            IF w.next_expiry_at <= w.updated_at THEN
                w := ledger_expire_due(w, p_context);
            END IF;
            PERFORM ledger_audit('released', w.unit, h.subject_type, h.subject_id, w.user_id,
                                 jsonb_build_object('amount', amount, 'available', w.balance - w.held - w.frozen),
                                 jsonb_build_object('hold', p_key), p_context);
        END IF;
    END IF;
    available := w.balance - w.held - w.frozen;
END $$;


-- Fund a person's wallet from one of ours, in full; then repay what the person owes in that unit out of exactly what
-- came in, never out of promo credits. p_category makes a lot (credits) and is null for money. status: ok, mismatch.
CREATE FUNCTION ledger_grant(
    p_user uuid, p_wallet_kind text, p_unit text, p_amount bigint, p_category text, p_kind text, p_key text,
    p_subject_type text, p_subject_id uuid, p_house text, p_expires_at timestamptz,
    p_source_type text, p_source_id uuid, p_actor uuid, p_memo text, p_context jsonb,
    OUT status text, OUT transaction_id uuid, OUT balance bigint, OUT repaid bigint, OUT is_replay boolean
) LANGUAGE plpgsql AS $$
DECLARE
    w billing_wallet;
    v_lot uuid;
    v_left bigint := p_amount;
    v_take bigint;
    v_taker uuid;
    debt record;
BEGIN
    IF p_amount <= 0 THEN
        RAISE EXCEPTION 'a grant of % is none', p_amount USING ERRCODE = 'check_violation';
    END IF;
    is_replay := false;
    repaid := 0;
    SELECT * INTO w FROM billing_wallet
        WHERE user_id = p_user AND kind = p_wallet_kind AND unit = p_unit FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO billing_wallet (id, user_id, kind, unit, balance, held, frozen)
            VALUES (ledger_new_id(), p_user, p_wallet_kind, p_unit, 0, 0, 0)
            ON CONFLICT (user_id, kind, unit) DO NOTHING;
        SELECT * INTO STRICT w FROM billing_wallet
            WHERE user_id = p_user AND kind = p_wallet_kind AND unit = p_unit FOR NO KEY UPDATE;
    END IF;

    balance := w.balance + p_amount;
    transaction_id := ledger_write(
        p_kind, p_key, p_unit, p_subject_type, p_subject_id, p_actor, p_memo,
        w.id, p_amount, balance, ledger_house(p_house, p_unit), NULL);
    IF transaction_id IS NULL THEN
        SELECT r.transaction_id, r.balance_after INTO transaction_id, balance
            FROM ledger_recall(p_key, p_kind, w.id, p_amount, p_subject_type, p_subject_id) r;
        is_replay := transaction_id IS NOT NULL;
        status := CASE WHEN is_replay THEN 'ok' ELSE 'mismatch' END;
        IF is_replay THEN
            SELECT coalesce(-sum(e.amount), 0) INTO repaid
                FROM billing_debt d
                JOIN billing_ledgertransaction t ON t.key = p_key || ':debt:' || d.id
                JOIN billing_ledgerentry e ON e.transaction_id = t.id AND e.wallet_id = w.id
                WHERE d.user_id = p_user;
            balance := balance - repaid;
        END IF;
        RETURN;
    END IF;

    w.balance := balance;
    IF p_category IS NOT NULL THEN
        v_lot := ledger_new_id();
        INSERT INTO billing_creditlot (id, wallet_id, transaction_id, category, amount, remaining, frozen, expires_at,
                                       source_type, source_id)
            VALUES (v_lot, w.id, ledger_grant.transaction_id, p_category, p_amount, p_amount, 0, p_expires_at,
                    p_source_type, p_source_id);
        w.next_expiry_at := least(w.next_expiry_at, p_expires_at);
    END IF;

    IF p_category IS DISTINCT FROM 'promo' THEN
        FOR debt IN
            SELECT d.id, d.remaining FROM billing_debt d
            WHERE d.user_id = p_user AND d.unit = p_unit AND d.remaining > 0
            ORDER BY d.id FOR NO KEY UPDATE
        LOOP
            v_take := least(debt.remaining, v_left);
            v_taker := coalesce(
                v_taker, ledger_house(CASE WHEN p_unit = 'CREDIT' THEN 'issued' ELSE 'writeoff' END, p_unit));
            w.balance := w.balance - v_take;
            IF ledger_write('debt_repayment', p_key || ':debt:' || debt.id, p_unit, 'debt', debt.id, NULL, '',
                            w.id, -v_take, w.balance, v_taker, NULL) IS NULL THEN
                RAISE EXCEPTION 'debt % was already repaid by %', debt.id, p_key;
            END IF;
            UPDATE billing_debt SET remaining = remaining - v_take WHERE id = debt.id;
            v_left := v_left - v_take;
            EXIT WHEN v_left = 0;
        END LOOP;
        repaid := p_amount - v_left;
        IF repaid > 0 AND v_lot IS NOT NULL THEN
            UPDATE billing_creditlot
                SET remaining = v_left, exhausted_at = CASE WHEN v_left = 0 THEN clock_timestamp() END
                WHERE id = v_lot;
        END IF;
    END IF;

    UPDATE billing_wallet
        SET balance = w.balance, next_expiry_at = w.next_expiry_at, updated_at = clock_timestamp()
        WHERE id = w.id;
    status := 'ok';
    balance := w.balance;
    PERFORM ledger_audit(CASE p_kind WHEN 'adjustment' THEN 'adjusted' ELSE 'granted' END, p_unit,
                         p_subject_type, p_subject_id, p_user,
                         jsonb_build_object('amount', p_amount, 'repaid', repaid, 'balance', balance),
                         jsonb_build_object('transaction', transaction_id, 'key', p_key, 'category', p_category),
                         p_context);
END $$;


-- Post between two of our own wallets: p_amount on the first, the opposite on the second. status: ok, mismatch.
CREATE FUNCTION ledger_post_house(
    p_kind text, p_key text, p_unit text, p_subject_type text, p_subject_id uuid, p_actor uuid, p_memo text,
    p_first text, p_amount bigint, p_second text, p_context jsonb,
    OUT status text, OUT transaction_id uuid, OUT is_replay boolean
) LANGUAGE plpgsql AS $$
DECLARE
    v_first uuid := ledger_house(p_first, p_unit);
BEGIN
    is_replay := false;
    status := 'ok';
    transaction_id := ledger_write(p_kind, p_key, p_unit, p_subject_type, p_subject_id, p_actor, p_memo,
                                   v_first, p_amount, NULL, ledger_house(p_second, p_unit), NULL);
    IF transaction_id IS NULL THEN
        SELECT r.transaction_id INTO transaction_id
            FROM ledger_recall(p_key, p_kind, v_first, p_amount, p_subject_type, p_subject_id) r;
        is_replay := transaction_id IS NOT NULL;
        status := CASE WHEN is_replay THEN 'ok' ELSE 'mismatch' END;
    ELSE
        PERFORM ledger_audit('posted', p_unit, p_subject_type, p_subject_id, NULL,
                             jsonb_build_object(p_first, p_amount, p_second, -p_amount, 'unit', p_unit),
                             jsonb_build_object('transaction', transaction_id, 'key', p_key), p_context);
    END IF;
END $$;


-- History is data. Transactions and entries are only ever added; what they speak of changes, and is never deleted.
CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% belongs to the ledger: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_ledgertransaction
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
-- Both sides of a posting are one statement, so an unbalanced one cannot be written at all.
CREATE FUNCTION ledger_refuse_imbalance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM added GROUP BY transaction_id HAVING sum(amount) <> 0) THEN
        RAISE EXCEPTION 'the entries of a transaction must sum to zero' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER ledger_balanced AFTER INSERT ON billing_ledgerentry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_imbalance();

CREATE TRIGGER ledger_keep BEFORE DELETE OR TRUNCATE ON billing_wallet
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_keep BEFORE DELETE OR TRUNCATE ON billing_hold
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_keep BEFORE DELETE OR TRUNCATE ON billing_creditlot
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_keep BEFORE DELETE OR TRUNCATE ON billing_freeze
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_keep BEFORE DELETE OR TRUNCATE ON billing_debt
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- Room on the page for the next version of the rows that change at every operation (HOT updates, no index writes).
ALTER TABLE billing_wallet SET (fillfactor = 50);
ALTER TABLE billing_creditlot SET (fillfactor = 70);
ALTER TABLE billing_hold SET (fillfactor = 80);

-- Made now, so that no first use waits for another one's.
SELECT ledger_house(kind, 'CREDIT') FROM unnest(ARRAY['issued', 'promo', 'spent', 'expired', 'adjustment']) kind;
