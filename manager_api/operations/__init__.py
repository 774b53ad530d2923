"""What can be done, each as one audited transaction; the API and the page both call these."""
