import { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { Info as ContentInfo } from '@flotilla/api/containerd/services/content/v1/content'
import { Image } from '@flotilla/api/containerd/services/images/v1/images'
import { Plugin } from '@flotilla/api/containerd/services/introspection/v1/introspection'
import { Lease } from '@flotilla/api/containerd/services/leases/v1/leases'
import { Kind, Info as SnapshotInfo } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { Sandbox } from '@flotilla/api/containerd/types/types'
import { describe, expect, test } from 'vitest'
import { type Adaptor, parseFilters } from './filter.ts'
import {
  containerFields,
  contentFields,
  imageFields,
  ingestFields,
  leaseFields,
  pluginFields,
  sandboxFields,
  snapshotFields,
} from './objects.ts'

const labels = { 'containerd.io/gc.root': 'x', 'a.b': '1' }

const objects: Record<string, Adaptor> = {
  image: imageFields(
    Image.fromPartial({
      name: 'img',
      labels,
      target: { digest: 'sha256:ab', mediaType: 'application/x', annotations: { 'org.x': 'y' } },
    }),
  ),
  bareImage: imageFields(Image.fromPartial({})),
  container: containerFields(Container.fromPartial({ id: 'c', image: 'img', runtime: { name: 'io.r' }, labels })),
  bareContainer: containerFields(Container.fromPartial({ id: 'c' })),
  content: contentFields(ContentInfo.fromPartial({ digest: 'sha256:ab', size: 7, labels })),
  ingest: ingestFields({ ref: 'layer-1' }),
  lease: leaseFields(Lease.fromPartial({ id: 'l', labels })),
  snapshot: snapshotFields(SnapshotInfo.fromPartial({ name: 'k 1', kind: Kind.VIEW, parent: 'p', labels })),
  base: snapshotFields(SnapshotInfo.fromPartial({ name: 'k', kind: Kind.COMMITTED })),
  sandbox: sandboxFields(Sandbox.fromPartial({ sandboxId: 's', labels })),
  plugin: pluginFields(Plugin.fromPartial({ type: 't', id: 'i', capabilities: ['c'] })),
}

describe('the fields of', () => {
  test.each([
    ['image', 'name==img', true],
    ['image', 'target.digest=="sha256:ab"', true],
    ['image', 'target.digest==sha256:ab', true],
    ['image', 'target.mediatype==application/x', true],
    ['image', 'labels."containerd.io/gc.root"==x', true],
    ['image', 'labels.a.b==1', true],
    ['image', 'annotations.org.x==y', true],
    ['image', 'annotations."org.x"==y', true],
    ['image', 'labels.constructor', false],
    ['image', 'target', false],
    ['image', 'size', false],
    ['bareImage', 'name', false],
    ['bareImage', 'target.digest', false],
    ['bareImage', 'annotations.x', false],
    ['container', 'id==c', true],
    ['container', 'image==img', true],
    ['container', 'runtime.name==io.r', true],
    ['container', 'labels.a.b', true],
    ['container', 'runtime', false],
    ['bareContainer', 'image', false],
    ['bareContainer', 'runtime.name', false],
    ['content', 'digest~=^sha256', true],
    ['content', 'size==7', false],
    ['content', 'labels."a.b"==1', true],
    ['ingest', 'ref~=^layer', true],
    ['ingest', 'ref==other', false],
    ['lease', 'id==l', true],
    ['lease', 'labels.a.b==1', true],
    ['snapshot', 'kind==view', true],
    ['snapshot', 'name=="k 1"', true],
    ['snapshot', 'parent==p', true],
    ['snapshot', 'labels.a.b==1', true],
    ['base', 'kind==committed', true],
    ['base', 'parent==""', true],
    ['sandbox', 'id==s', true],
    ['sandbox', 'labels.a.b==1', true],
    ['plugin', 'type==t, id==i', true],
    ['plugin', 'capabilities==c', false],
  ])('%s: %s → %s', (kind, filter, expected) => {
    expect(parseFilters([filter]).matches(objects[kind]!)).toBe(expected)
  })
})
