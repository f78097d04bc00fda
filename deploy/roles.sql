-- The database, its extensions and the three roles on a PostgreSQL server of one's own.
--
-- Run once as a superuser, with psql 14 or newer; the passwords come from the environment:
--   WATTLINE_OWNER_PASSWORD=… WATTLINE_APP_PASSWORD=… WATTLINE_INGEST_PASSWORD=… \
--       psql --no-psqlrc --file deploy/roles.sql postgresql://postgres@server/postgres
\set ON_ERROR_STOP on
\getenv owner_password WATTLINE_OWNER_PASSWORD
\getenv app_password WATTLINE_APP_PASSWORD
\getenv ingest_password WATTLINE_INGEST_PASSWORD

-- Owns the schema and runs the migrations; no process works with it from day to day.
CREATE ROLE wattline_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS
    PASSWORD :'owner_password';
-- Web and worker: bound by row-level security.
CREATE ROLE wattline_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS
    PASSWORD :'app_password';
-- Bridge and writer: COPY is refused under row-level security, so this role is exempt from it, and
-- the migrations grant it next to nothing instead.
CREATE ROLE wattline_ingest LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS
    PASSWORD :'ingest_password';

CREATE DATABASE wattline OWNER wattline_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE wattline FROM PUBLIC;
GRANT CONNECT ON DATABASE wattline TO wattline_app, wattline_ingest;

\connect wattline
CREATE EXTENSION timescaledb;
CREATE EXTENSION btree_gist;
ALTER SCHEMA public OWNER TO wattline_owner;
