import { ContainerCreate, TaskCreate, TaskExit } from '@flotilla/api/containerd/events/events'
import { ImageCreate } from '@flotilla/api/containerd/services/images/v1/images'
import { Envelope } from '@flotilla/api/containerd/types/types'
import { describe, expect, test } from 'vitest'
import { eventFields } from './event.ts'
import { parseFilters } from './filter.ts'

const envelope = (topic: string, typeUrl: string, value: Uint8Array) =>
  Envelope.fromPartial({ namespace: 'moby', topic, event: { typeUrl, value: Buffer.from(value) } })

const exit = envelope(
  '/tasks/exit',
  'containerd.events.TaskExit',
  TaskExit.encode(TaskExit.fromPartial({ containerId: 'c1', id: 'e1', pid: 7 })).finish(),
)
const image = envelope(
  '/images/create',
  'containerd.services.images.v1.ImageCreate',
  ImageCreate.encode({ name: 'img', labels: { 'a.b': '1' } }).finish(),
)
const created = envelope(
  '/containers/create',
  'type.googleapis.com/containerd.events.ContainerCreate',
  ContainerCreate.encode(ContainerCreate.fromPartial({ id: 'c1', runtime: { name: 'io.r' } })).finish(),
)
const task = envelope(
  '/tasks/create',
  'containerd.events.TaskCreate',
  TaskCreate.encode(TaskCreate.fromPartial({ containerId: 'c1', io: { stdin: '/in', terminal: false } })).finish(),
)
const unknown = envelope('/x', 'somewhere.Else', Buffer.from([8, 1]))
const broken = envelope('/tasks/exit', 'containerd.events.TaskExit', Buffer.from([10, 200]))

describe('the fields of an event', () => {
  test.each([
    ['what Docker asks', exit, 'namespace==moby,topic~=|^/tasks/|', true],
    ['another namespace', exit, 'namespace==k8s.io,topic~=|^/tasks/|', false],
    ['a whole topic', exit, 'topic=="/tasks/exit"', true],
    ['a payload field', exit, 'event.container_id==c1', true],
    ['an exec id', exit, 'event.id==e1', true],
    ['a number is no field', exit, 'event.pid==7', false],
    ['camel case is no field', exit, 'event.containerId', false],
    ['event alone is no field', exit, 'event', false],
    ['image events have a package of their own', image, 'event.name==img', true],
    ['labels of a payload', image, 'event.labels.a.b==1', true],
    ['a quoted label', image, 'event.labels."a.b"==1', true],
    ['a type URL with a host', created, 'event.runtime.name==io.r', true],
    ['an empty payload field', created, 'event.image', false],
    ['nested fields', task, 'event.io.stdin=="/in"', true],
    ['a boolean', task, 'event.io.terminal==false', true],
    ['an unknown type has no fields', unknown, 'event.id', false],
    ['an unknown type has an envelope', unknown, 'namespace==moby', true],
    ['an unreadable payload has no fields', broken, 'event.container_id', false],
    ['an unreadable payload has an envelope', broken, 'topic=="/tasks/exit"', true],
  ])('%s', (_, event, filter, expected) => {
    expect(parseFilters([filter]).matches(eventFields(event))).toBe(expected)
  })
})
