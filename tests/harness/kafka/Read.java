// Prints the records of a topic, a line each, as Java's own client reads them: partition, offset, key, value, and then each
// header as name=value. Octets are in Base64; `-` is null.

import java.time.Duration;
import java.util.Base64;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

class Read {
    /** The arguments: the broker's address, the topic, how many records there are at least. */
    public static void main(String[] args) {
        var octets = new ByteArrayDeserializer();
        var settings = Map.<String, Object>of("bootstrap.servers", args[0], "enable.auto.commit", "false");
        try (var consumer = new KafkaConsumer<>(settings, octets, octets)) {
            var partitions = consumer.partitionsFor(args[1]).stream()
                .map(found -> new TopicPartition(found.topic(), found.partition()))
                .collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            for (var left = Integer.parseInt(args[2]); left > 0; ) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    left--;
                    var line = new StringBuilder(record.partition() + " " + record.offset());
                    line.append(" " + text(record.key()) + " " + text(record.value()));
                    record.headers().forEach(header -> line.append(" " + header.key() + "=" + text(header.value())));
                    System.out.println(line);
                }
            }
        }
    }

    private static String text(byte[] octets) {
        return octets == null ? "-" : Base64.getEncoder().encodeToString(octets);
    }
}
