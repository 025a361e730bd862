"""Driving a workload: what a training job reads, and the loader, the compute and the reports around it.

job         what is to be run: data set, loader, training, evaluation, checkpoints (frozen records)
options     how a loader reads
loader      batches within a cap of bytes: create_async_loader, and create_dataset (in dataset)
"""
