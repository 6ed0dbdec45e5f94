"""From finished runs and sets to one page that shows them: its numbers, its images, its doubts."""
