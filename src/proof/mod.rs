//! Bytes in, verdict out. The server, the worker and `countersign verify` call the same code.
