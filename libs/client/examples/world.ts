// Where the examples connect to: `FLOTILLA_ADDRESS` or the usual socket; certificates from `FLOTILLA_CA`,
// `FLOTILLA_CERT` and `FLOTILLA_KEY` when it is an endpoint.
import { type ClientOptions, createClient } from '@flotilla/client'

const { FLOTILLA_ADDRESS, FLOTILLA_CA, FLOTILLA_CERT, FLOTILLA_KEY, FLOTILLA_NAMESPACE, FLOTILLA_IMAGE } = process.env

export function connect() {
  const options: ClientOptions = {
    address: FLOTILLA_ADDRESS ?? '/run/flotilla/containerd.sock',
    namespace: FLOTILLA_NAMESPACE ?? 'default',
    ...(FLOTILLA_CA && FLOTILLA_CERT && FLOTILLA_KEY
      ? { tls: { caFile: FLOTILLA_CA, certFile: FLOTILLA_CERT, keyFile: FLOTILLA_KEY } }
      : {}),
  }
  return createClient(options)
}

/** The image to work with; `true`, `echo` and `cat` must be in it. */
export const image = FLOTILLA_IMAGE ?? 'docker.io/library/busybox:latest'
