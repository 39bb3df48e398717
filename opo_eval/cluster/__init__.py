"""Replicas of what does the work, in actors of a Ray, on one machine or on many: samplers, graders."""
