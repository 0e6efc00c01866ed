"""R13: stock SQLAlchemy models over Cairn's own tables: create, read, update, delete."""
import datetime
import uuid
from typing import Optional

import pytest

psycopg2 = pytest.importorskip("psycopg2")
sqlalchemy = pytest.importorskip("sqlalchemy")
from sqlalchemy import BigInteger, FetchedValue, ForeignKey, create_engine, func, select  # noqa: E402  after the skip
from sqlalchemy.dialects.postgresql import JSONB  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship  # noqa: E402


class Base(DeclarativeBase):
    type_annotation_map = {dict: JSONB, datetime.datetime: sqlalchemy.DateTime(timezone=True)}


class Model(Base):
    __tablename__ = "models"
    __table_args__ = {"schema": "registry"}
    model_id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    model_name: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="draft")
    metadata_: Mapped[dict] = mapped_column("metadata", server_default="{}")
    created_at: Mapped[datetime.datetime] = mapped_column(server_default=FetchedValue())
    updated_at: Mapped[datetime.datetime] = mapped_column(server_default=FetchedValue(), server_onupdate=FetchedValue())
    versions: Mapped[list["ModelVersion"]] = relationship(back_populates="model", passive_deletes=True, order_by="ModelVersion.version")


class ModelVersion(Base):
    __tablename__ = "model_versions"
    __table_args__ = {"schema": "registry"}
    version_id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Model.model_id))
    version: Mapped[int]
    semver: Mapped[Optional[str]]
    model: Mapped[Model] = relationship(back_populates="versions")
    runs: Mapped[list["TrainingRun"]] = relationship(back_populates="model_version", passive_deletes=True)


class TrainingRun(Base):
    __tablename__ = "training_runs"
    __table_args__ = {"schema": "tracking"}
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    run_id: Mapped[str] = mapped_column(server_default=FetchedValue())
    experiment_name: Mapped[Optional[str]] = mapped_column(server_default=FetchedValue())
    version_id: Mapped[Optional[uuid.UUID]] = mapped_column(ForeignKey(ModelVersion.version_id))
    status: Mapped[str] = mapped_column(server_default="running")
    accuracy: Mapped[Optional[float]]
    hyperparameters: Mapped[dict] = mapped_column(server_default="{}")
    metrics: Mapped[dict] = mapped_column(server_default="{}")
    model_version: Mapped[Optional[ModelVersion]] = relationship(back_populates="runs")


@pytest.fixture
def engine(database):
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(database))
    yield engine
    engine.dispose()


def test_R13_create_read_update_delete(engine):
    with Session(engine) as session:
        model = Model(model_name="churn", metadata_={"framework": "sklearn"})
        model.versions = [ModelVersion(version=1, semver="1.0.0"), ModelVersion(version=2, semver="1.1.0")]
        session.add(model)
        session.commit()
        model_id, created = model.model_id, model.updated_at

    with Session(engine) as session:
        found = session.scalars(select(Model).where(Model.metadata_["framework"].astext == "sklearn")).one()
        assert (found.model_id, found.status, [v.semver for v in found.versions]) == (model_id, "draft", ["1.0.0", "1.1.0"])
        found.status = "production"
        session.commit()
        assert found.updated_at > created

    with Session(engine) as session:
        session.delete(session.get(Model, model_id))
        session.commit()
        assert session.scalar(select(func.count()).select_from(ModelVersion)) == 0


def test_R13_run_with_results_is_read_back_and_found_by_them(engine):
    with Session(engine) as session:
        version = ModelVersion(version=1, model=Model(model_name="fraud"))
        run = TrainingRun(model_version=version, status="succeeded", accuracy=0.93, hyperparameters={"lr": "0.1"})
        session.add(run)
        session.commit()
        assert run.experiment_name == "Default" and run.metrics == {"accuracy": 0.93}
        run_id = run.run_id

    with Session(engine) as session:
        best = session.scalars(select(TrainingRun).where(TrainingRun.hyperparameters.contains({"lr": "0.1"}))
                               .order_by(TrainingRun.accuracy.desc())).first()
        assert best.run_id == run_id and best.model_version.model.model_name == "fraud"
        best.status = "killed"
        session.commit()

    with Session(engine) as session:
        run = session.scalars(select(TrainingRun).where(TrainingRun.run_id == run_id)).one()
        assert run.status == "killed"
        session.delete(run)
        session.commit()
        assert session.scalars(select(TrainingRun).where(TrainingRun.run_id == run_id)).first() is None


def test_R13_a_wrong_state_is_refused(engine):
    with Session(engine) as session:
        session.add(Model(model_name="wrong", status="retired"))
        with pytest.raises(sqlalchemy.exc.IntegrityError, match="models_status_check"):
            session.commit()
