"""The way to the database: one small port, two transports, the embedded server and the migrations runner."""
