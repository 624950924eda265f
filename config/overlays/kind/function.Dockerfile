# The function under test, for a machine that has Docker and no Go. The test bed builds the same source without either.
ARG GO
FROM golang:${GO} AS build
WORKDIR /source
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /function ./function

FROM scratch
COPY --from=build /function /app/function
USER 65532
ENTRYPOINT ["/app/function"]
