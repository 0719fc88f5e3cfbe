// Lets a user do everything with a topic. Others may do nothing with it from then on.
//
// librdkafka can do this too, but its Rust client has no call for it.

import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

class Allow {
    /** The arguments: the broker's address, the topic, the user. */
    public static void main(String[] args) throws Exception {
        var topic = new ResourcePattern(ResourceType.TOPIC, args[1], PatternType.LITERAL);
        var all = new AccessControlEntry("User:" + args[2], "*", AclOperation.ALL, AclPermissionType.ALLOW);
        try (var admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            admin.createAcls(List.of(new AclBinding(topic, all))).all().get();
        }
    }
}
