"""The store in MongoDB without a server: its documents, indexes, queries and logs.

They are tested on mongomock, on every platform. Of what the next table lists mongomock
does not tell the truth, or knows nothing; there a real mongod has the word.

| of this mongomock is no witness                        | the test on mongod |
|--------------------------------------------------------|--------------------|
| `$$NOW` in an update pipeline: it writes null          | tests/stores/mongo/test_leases.py::test_containers_are_dated_by_the_server |
| `$$NOW` in `$expr`: it raises a KeyError               | tests/stores/mongo/test_leases.py::test_a_client_with_a_wrong_clock_neither_steals_nor_outlives_a_lease |
| bulk writes of updates: it does not know their `sort`  | tests/stores/mongo/test_writes.py::test_finishing_one_task_and_starting_the_next_is_one_round_trip |
| raw batches: it has none                               | tests/stores/mongo/test_writes.py::test_ten_thousand_tasks_are_written_and_read_in_few_round_trips |
| partial indexes: what the filter leaves out is in them | tests/stores/mongo/test_process.py::test_the_indexes_that_queries_go_by_are_there |
| milliseconds: it compares no BSON dates                | tests/stores/test_contract_tasks.py::test_the_first_open_task_is_the_next |
| timestamps of the server: they are of this process     | tests/stores/mongo/test_logs.py::test_lines_are_put_in_order_by_the_server |
| write concerns: it takes all and heeds none            | tests/stores/mongo/test_writes.py::test_every_write_is_journaled_by_a_majority_whatever_the_url_says |
| two writers at once: both may win                      | tests/stores/mongo/test_races.py::test_of_many_claims_exactly_one_wins |
| documents over 16 MiB: it keeps them                   | tests/stores/mongo/test_large_payloads.py::test_parameters_over_what_a_document_holds_are_refused |
"""

from __future__ import annotations
