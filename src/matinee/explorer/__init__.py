"""Recommendations to look at: a page of the local SageMaker's console.

It knows the recommender and the console's frame; neither of them knows it.
"""
