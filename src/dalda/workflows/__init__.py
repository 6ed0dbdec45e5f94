"""The stages, joined: one short function each. The only place that knows them all."""
