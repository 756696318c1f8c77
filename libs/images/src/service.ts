import {
  Image,
  ImageCreate,
  ImageDelete,
  type ImagesDefinition,
  ImageUpdate,
} from '@flotilla/api/containerd/services/images/v1/images'
import type { CollectorDefinition } from '@flotilla/api/flotilla/gc/v1/gc'
import { imageFields, parseFilters } from '@flotilla/filters'
import {
  type Check,
  encode,
  eventOf,
  type Metadata,
  now,
  type Plan,
  tables,
  updateRecord,
  withoutEmpty,
} from '@flotilla/metadata'
import {
  alreadyExists,
  type Call,
  notFound,
  requireNamespace,
  type ServiceOf,
  storedAnswer,
  unknown,
} from '@flotilla/rpc'
import { updatedImage } from './update.ts'
import { requireName, validateImage } from './validate.ts'

export interface ImagesDeps {
  readonly metadata: Metadata
  /** Runs a collection when a deletion is to be synchronous. */
  readonly collector: ServiceOf<CollectorDefinition>
}

const missing = (name: string) => notFound(`image "${name}"`)
const resourceOf = (name: string) => ({ type: tables.images, id: name })

/** A lease needs to hold an image only when the image would expire by itself. */
const expires = (image: Image) => image.labels['containerd.io/gc.expire'] !== undefined

function leaseOf(call: Call, image: Image): Pick<Plan, 'lease'> {
  return call.lease && expires(image) ? { lease: { id: call.lease, add: [resourceOf(image.name)] } } : {}
}

/** Image records of all namespaces. */
export function createImagesService({ metadata, collector }: ImagesDeps): ServiceOf<ImagesDefinition> {
  return {
    async get({ name }, call) {
      const bytes = await metadata.get(requireNamespace(call), tables.images, name)
      if (bytes === undefined) throw missing(name)
      return storedAnswer('image', Image, bytes)
    },

    async list({ filters }, call) {
      const namespace = requireNamespace(call)
      const matcher = parseFilters(filters)
      const rows = await metadata.all(namespace, tables.images)
      return {
        images: rows.map(([, bytes]) => Image.decode(bytes)).filter((each) => matcher.matches(imageFields(each))),
      }
    },

    async create(request, call) {
      const namespace = requireNamespace(call)
      const { name, labels, target } = request.image ?? Image.fromPartial({})
      const time = request.sourceDateEpoch ?? now()
      validateImage({ name, labels, target, createdAt: time, updatedAt: time })
      const image: Image = { name, labels: withoutEmpty(labels), target, createdAt: time, updatedAt: time }
      const outcome = await metadata.transact(namespace, {
        checks: [{ is: 'absent', table: tables.images, field: name }],
        writes: [{ op: 'set', table: tables.images, field: name, value: encode(Image, image) }],
        events: [
          eventOf('/images/create', 'containerd.services.images.v1.ImageCreate', ImageCreate, {
            name,
            labels: image.labels,
          }),
        ],
        touches: [resourceOf(name)],
        ...leaseOf(call, image),
      })
      if (!outcome.ok) throw alreadyExists(`image "${name}"`)
      return { image }
    },

    async update(request, call) {
      const requested = request.image ?? Image.fromPartial({})
      const { name } = requested
      requireName(name)
      const image = await updateRecord(metadata, {
        namespace: requireNamespace(call),
        table: tables.images,
        field: name,
        type: Image,
        missing: () => missing(name),
        change: (stored) => {
          const next = updatedImage(stored, requested, request.updateMask)
          validateImage(next)
          return { ...next, updatedAt: request.sourceDateEpoch ?? now() }
        },
        plan: (next) => ({
          events: [
            eventOf('/images/update', 'containerd.services.images.v1.ImageUpdate', ImageUpdate, {
              name,
              labels: next.labels,
            }),
          ],
          touches: [resourceOf(name)],
          ...leaseOf(call, next),
        }),
      })
      return { image }
    },

    async delete({ name, sync, target }, call) {
      const namespace = requireNamespace(call)
      await deleteImage(metadata, namespace, name, target?.digest ?? '', call.lease)
      if (!sync) return {}
      try {
        await collector.collect({}, call)
      } catch (error) {
        // The image is gone all the same.
        throw unknown('gc failed', { cause: error })
      }
      return {}
    },
  }
}

/** Removes an image; with a digest only while that is what the image names. */
async function deleteImage(metadata: Metadata, namespace: string, name: string, digest: string, lease?: string) {
  const table = tables.images
  for (;;) {
    let check: Check = { is: 'present', table, field: name }
    if (digest !== '') {
      const stored = await metadata.get(namespace, table, name)
      if (stored === undefined) throw missing(name)
      const has = Image.decode(stored).target?.digest ?? ''
      if (has !== digest) throw notFound(`image "${name}" has target ${has}, not ${digest}`)
      check = { is: 'equals', table, field: name, value: stored }
    }
    const outcome = await metadata.transact(namespace, {
      checks: [check],
      writes: [{ op: 'delete', table, field: name }],
      events: [eventOf('/images/delete', 'containerd.services.images.v1.ImageDelete', ImageDelete, { name })],
      ...(lease ? { lease: { id: lease, remove: [resourceOf(name)] } } : {}),
      deletions: 1,
    })
    if (outcome.ok) return
    // Gone, or changed between the reading and the removal: then its target is looked at again.
    if (outcome.current === undefined) throw missing(name)
  }
}
