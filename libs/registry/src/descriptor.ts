import { manifestTypes } from '@flotilla/oci'

/** Larger manifests are refused, whoever offers them: bytes. */
export const maxManifestSize = 8 * 1024 * 1024

/** The Accept header of a request for a manifest by name. */
export const acceptManifests = [...manifestTypes, '*/*'].join(', ')
