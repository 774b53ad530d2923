"""The first tables."""

import sqlalchemy as sa
from alembic import op

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LOCKS = ("policy", "events")

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    op.create_table(
        "appliance",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wanted_version", sa.Integer(), nullable=False),
        sa.Column("live_version", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("defaults", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appliance")),
        sa.UniqueConstraint("name", name=op.f("uq_appliance_name")),
    )
    op.create_table(
        "audit",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=160), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=300), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_action", "audit", ["action"], unique=False)

    op.create_table(
        "lock",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lock")),
    )
    op.create_table(
        "rule_set",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_rule_set")),
    )
    op.create_table(
        "rule_set_blob",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("signatures", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_rule_set_blob")),
    )
    op.create_table(
        "token",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=16), nullable=False),
        sa.Column("appliance", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_token_digest")),
    )
    op.create_table(
        "user_account",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("name", name=op.f("uq_user_account_name")),
    )
    op.create_table(
        "certificate",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("appliance_id", sa.String(length=36), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["appliance_id"], ["appliance.id"], name=op.f("fk_certificate_appliance_id_appliance")
        ),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_certificate")),
    )
    op.create_index("ix_certificate_appliance_id", "certificate", ["appliance_id"], unique=False)

    op.create_table(
        "event",
        sa.Column("id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("appliance_id", sa.String(length=36), nullable=False),
        sa.Column("epoch", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_type", sa.String(length=300), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("guest", sa.String(length=300), nullable=True),
        sa.Column("sid", sa.BigInteger(), nullable=True),
        sa.Column("gid", sa.BigInteger(), nullable=True),
        sa.Column("msg", sa.Text(), nullable=True),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("would_block", sa.Boolean(), nullable=False),
        sa.Column("src_ip", sa.String(length=64), nullable=True),
        sa.Column("src_port", sa.Integer(), nullable=True),
        sa.Column("dest_ip", sa.String(length=64), nullable=True),
        sa.Column("dest_port", sa.Integer(), nullable=True),
        sa.Column("proto", sa.String(length=300), nullable=True),
        sa.Column("cves", sa.String(length=300), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["appliance_id"], ["appliance.id"], name=op.f("fk_event_appliance_id_appliance")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint(
            "appliance_id", "epoch", "lane", "number", name=op.f("uq_event_appliance_id_epoch_lane_number")
        ),
    )
    op.create_index("ix_event_at", "event", ["at"], unique=False)
    op.create_index("ix_event_blocked_id", "event", ["blocked", "id"], unique=False)
    op.create_index("ix_event_dest_ip_id", "event", ["dest_ip", "id"], unique=False)
    op.create_index("ix_event_event_type_id", "event", ["event_type", "id"], unique=False)
    op.create_index("ix_event_guest_id", "event", ["guest", "id"], unique=False)
    op.create_index("ix_event_received_at", "event", ["received_at"], unique=False)
    op.create_index("ix_event_severity_id", "event", ["severity", "id"], unique=False)
    op.create_index("ix_event_sid_id", "event", ["sid", "id"], unique=False)
    op.create_index("ix_event_src_ip_id", "event", ["src_ip", "id"], unique=False)

    op.create_table(
        "guest",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("appliance_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("segment", sa.String(length=128), nullable=True),
        sa.Column("vnics", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("uninspected", sa.Text(), nullable=False),
        sa.Column("assignments", sa.Text(), nullable=True),
        sa.Column("firewall", sa.Text(), nullable=True),
        sa.Column("guard", sa.Text(), nullable=True),
        sa.Column("on_drop", sa.String(length=8), nullable=True),
        sa.ForeignKeyConstraint(
            ["appliance_id"], ["appliance.id"], name=op.f("fk_guest_appliance_id_appliance")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guest")),
        sa.UniqueConstraint("appliance_id", "name", name=op.f("uq_guest_appliance_id_name")),
    )
    op.create_index("ix_guest_name", "guest", ["name"], unique=False)

    op.create_table(
        "policy_version",
        sa.Column("appliance_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["appliance_id"], ["appliance.id"], name=op.f("fk_policy_version_appliance_id_appliance")
        ),
        sa.PrimaryKeyConstraint("appliance_id", "version", name=op.f("pk_policy_version")),
    )
    op.create_table(
        "rule_set_version",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("loaded", sa.Integer(), nullable=False),
        sa.Column("blocks_as_written", sa.Integer(), nullable=False),
        sa.Column("blocks_prevent", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["rule_set_blob.digest"], name=op.f("fk_rule_set_version_digest_rule_set_blob")
        ),
        sa.ForeignKeyConstraint(["name"], ["rule_set.name"], name=op.f("fk_rule_set_version_name_rule_set")),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_rule_set_version")),
    )
    op.create_index("ix_rule_set_version_digest", "rule_set_version", ["digest"], unique=False)

    op.create_table(
        "session",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_session_user_id_user_account")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_session")),
    )
    op.create_index("ix_session_expires_at", "session", ["expires_at"], unique=False)
    op.create_index("ix_session_user_id", "session", ["user_id"], unique=False)

    op.create_table(
        "override",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("guest_id", BIG_ID, nullable=False),
        sa.Column("gid", sa.BigInteger(), nullable=False),
        sa.Column("sid", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=160), nullable=False),
        sa.ForeignKeyConstraint(["guest_id"], ["guest.id"], name=op.f("fk_override_guest_id_guest")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_override")),
        sa.UniqueConstraint("guest_id", "gid", "sid", "peer", name=op.f("uq_override_guest_id_gid_sid_peer")),
    )
    op.create_index("ix_override_until", "override", ["until"], unique=False)

    lock = sa.table("lock", sa.column("name", sa.String), sa.column("value", sa.BigInteger))
    op.bulk_insert(lock, [{"name": name, "value": 0} for name in LOCKS])


def downgrade() -> None:
    op.drop_index("ix_override_until", "override")

    op.drop_table("override")
    op.drop_index("ix_session_user_id", "session")
    op.drop_index("ix_session_expires_at", "session")

    op.drop_table("session")
    op.drop_index("ix_rule_set_version_digest", "rule_set_version")

    op.drop_table("rule_set_version")
    op.drop_table("policy_version")
    op.drop_index("ix_guest_name", "guest")

    op.drop_table("guest")
    op.drop_index("ix_event_src_ip_id", "event")
    op.drop_index("ix_event_sid_id", "event")
    op.drop_index("ix_event_severity_id", "event")
    op.drop_index("ix_event_received_at", "event")
    op.drop_index("ix_event_guest_id", "event")
    op.drop_index("ix_event_event_type_id", "event")
    op.drop_index("ix_event_dest_ip_id", "event")
    op.drop_index("ix_event_blocked_id", "event")
    op.drop_index("ix_event_at", "event")

    op.drop_table("event")
    op.drop_index("ix_certificate_appliance_id", "certificate")

    op.drop_table("certificate")
    op.drop_table("user_account")
    op.drop_table("token")
    op.drop_table("rule_set_blob")
    op.drop_table("rule_set")
    op.drop_table("lock")
    op.drop_index("ix_audit_action", "audit")

    op.drop_table("audit")
    op.drop_table("appliance")
    op.drop_table("api_key")
