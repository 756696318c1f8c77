import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { LogDefinition } from '@flotilla/api/flotilla/events/v1/events'
import { createEventsService } from '@flotilla/events'
import type { Part } from '../part.ts'

export const events: Part = {
  name: 'events',
  serves: [EventsDefinition, LogDefinition],
  async build({ bus, config, logger, metadata, own, serve }) {
    const service = own(
      createEventsService({
        metadata,
        nats: bus.nats,
        replicas: config.natsReplicas,
        nodeName: config.nodeName,
        retention: { age: config.events.retentionHours * 3_600_000, count: config.events.retentionCount },
        logger,
      }),
    )
    serve(EventsDefinition, service)
    serve(LogDefinition, service.log)
  },
}
