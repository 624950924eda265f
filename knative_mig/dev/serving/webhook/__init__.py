"""What Knative Serving's own webhooks do with an object before it is kept. Begin at `admission`.

admission ─► defaults       what is filled in
         └─► checks ─► template_checks, scaling_checks     what is refused, in Knative's words (`problems`)
"""
