"""OTLP metrics over HTTP, as protobuf and as JSON.

A codec (`protobuf_body`, `json_body`) reads the envelope and gives each data point with its
attributes still encoded; `mapping` finds the point's series by those bytes and turns the point into
samples, a histogram into the series that Prometheus would have. After
https://opentelemetry.io/docs/specs/otlp/ and opentelemetry-proto 1.x.
"""
