"""The dynamic partitions, and the mappings between them."""

import dagster as dg

corpus_shard = dg.DynamicPartitionsDefinition(name="corpus_shard")
feedback_batch = dg.DynamicPartitionsDefinition(name="feedback_batch")
finetune = dg.DynamicPartitionsDefinition(name="finetune")

# Between two dynamic partitions Dagster would map by identity, without an error: every edge from shards or batches to
# a finetune, and from finetunes to the champion, has to say that it reads them all.
all_shards = all_batches = all_finetunes = dg.AllPartitionMapping()
