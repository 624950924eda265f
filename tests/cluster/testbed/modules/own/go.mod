module knative-mig.dev/tests/cluster/own

go 1.26

tool (
	knative-mig.dev/tests/cluster/own/function
	knative-mig.dev/tests/cluster/own/pause
)
