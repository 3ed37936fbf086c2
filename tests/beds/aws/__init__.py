"""An AWS account on this machine's loopback: moto's server, as strict as AWS, and with its troubles on demand.

`bed` is the test's side; everything else runs in the server's process. docs/explanation/aws-bed.md says why and how.
"""
